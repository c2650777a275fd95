"""The way from a Broker to each subscriber, worked out once from the Triggers."""

from __future__ import annotations

from collections.abc import Iterable

from knative.local.broker.http import Headers
from knative.local.broker.spec import BrokerSpec, Delivery, TriggerSpec, effective_delivery

INGRESS = "http://broker-ingress.knative-eventing.svc.cluster.local"


class Route:
    """A Trigger with all that follows from its specification, worked out once."""

    def __init__(self, trigger: TriggerSpec, broker: BrokerSpec) -> None:
        self.key = f"{trigger.namespace}/{trigger.name}"
        self.matches = trigger.matches
        self.url = trigger.subscriber_uri
        self.delivery: Delivery = effective_delivery(trigger, broker)
        self.structured = self.delivery.format == "json"
        self.broker = (broker.namespace, broker.name)
        self.ingress_url = f"{INGRESS}/{broker.namespace}/{broker.name}"
        self.sink_headers: Headers = (
            (b"Kn-Namespace", trigger.namespace.encode()),
            (b"User-Agent", b"Go-http-client/1.1"),
            (b"Accept-Encoding", b"gzip"),
        )
        self.headers: Headers = (*self.sink_headers, (b"Prefer", b"reply"))


def routes_of(
    brokers: Iterable[BrokerSpec], triggers: Iterable[TriggerSpec]
) -> dict[tuple[str, str], list[Route]]:
    """The routes of each Broker, by its namespace and name.

    Raises ValueError, naming Trigger and field, when a Trigger names no Broker here.
    """
    specs = {(broker.namespace, broker.name): broker for broker in brokers}
    routes: dict[tuple[str, str], list[Route]] = {key: [] for key in specs}
    names = set()
    for trigger in triggers:
        key = (trigger.namespace, trigger.broker)
        if key not in specs:
            raise ValueError(
                f"trigger {trigger.namespace}/{trigger.name}: broker {trigger.broker!r} "
                f"does not exist in namespace {trigger.namespace}"
            )
        route = Route(trigger, specs[key])
        if route.key in names:
            raise ValueError(f"trigger {route.key}: there are two of this name")
        names.add(route.key)
        routes[key].append(route)
    return routes
