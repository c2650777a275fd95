"""From manifests to the Broker's configuration."""

from __future__ import annotations

from knative.local.broker.spec import BrokerSpec, Delivery, TriggerSpec
from knative.local.manifests import eventing
from knative.local.manifests.load import World
from knative.local.manifests.meta import seconds
from knative.local.manifests.references import address


def brokers(world: World) -> list[BrokerSpec]:
    return [
        BrokerSpec(item.namespace, item.name, _delivery(item.spec.delivery, item.namespace))
        for item in world.all(eventing.Broker)
    ]


def triggers(world: World) -> list[TriggerSpec]:
    """Raises ValueError, naming trigger and field, when a filter is no CESQL."""
    return [
        TriggerSpec(
            namespace=item.namespace,
            name=item.name,
            broker=item.spec.broker,
            filter=item.spec.filter.attributes if item.spec.filter else None,
            filters=item.spec.filters or None,
            subscriber_uri=address(item.spec.subscriber, item.namespace),
            delivery=_delivery(item.spec.delivery, item.namespace),
        )
        for item in world.all(eventing.Trigger)
    ]


def _delivery(spec: eventing.DeliverySpec | None, namespace: str) -> Delivery | None:
    if spec is None:
        return None
    sink = spec.dead_letter_sink
    return Delivery(
        retry=spec.retry or 0,
        backoff_policy=spec.backoff_policy,
        backoff_delay_s=seconds(spec.backoff_delay) if spec.backoff_delay else 0.0,
        timeout_s=seconds(spec.timeout) if spec.timeout else None,
        format=spec.format,
        dead_letter_uri=address(sink, namespace) if sink else None,
    )
