"""The effective delivery of a Trigger, and how long it can take."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

from knative.lint.manifest import SERVING, Manifest, Path
from knative.lint.tree import Tree
from knative.local.broker.spec import STOCK_DELIVERY, Delivery
from knative.local.manifests.fields import POD
from knative.local.manifests.meta import seconds

DELIVERY: Path = ("spec", "delivery")
SERVICE_TIMEOUT_S = 300  # the default of each timeout of a Knative Service
_MAX_RETRIES = 64  # more doublings of a delay never end


@dataclass(frozen=True)
class EffectiveDelivery:
    """A delivery, and the object that defines it (None: Knative's default)."""

    delivery: Delivery
    defined_in: Manifest | None
    has_sink: bool


# Most rules of deliveries ask for it.
_known: WeakKeyDictionary[Tree, dict[Manifest, EffectiveDelivery]] = WeakKeyDictionary()


def effective_delivery(trigger: Manifest, tree: Tree) -> EffectiveDelivery:
    """Return a Trigger's delivery, which replaces its Broker's except for the dead letter sink.

    A Kafka Broker merges the two; only the merged timeout is needed here.
    """
    known = _known.setdefault(tree, {})
    if trigger not in known:
        known[trigger] = _effective_delivery(trigger, tree)
    return known[trigger]


def _effective_delivery(trigger: Manifest, tree: Tree) -> EffectiveDelivery:
    broker = tree.broker_of(trigger)
    sink = any(map(has_sink, filter(None, (trigger, broker)))) or tree.has_default_sink
    definers = [each for each in (trigger, broker) if each and each.get(*DELIVERY) is not None]
    if not definers:
        return EffectiveDelivery(STOCK_DELIVERY, None, sink)
    if merges(broker) and len(definers) > 1:
        own, inherited = map(own_delivery, definers)
        return EffectiveDelivery(
            replace(own, timeout_s=own.timeout_s or inherited.timeout_s), trigger, sink
        )
    return EffectiveDelivery(own_delivery(definers[0]), definers[0], sink)


def has_sink(manifest: Manifest) -> bool:
    sink = manifest.mapping(*DELIVERY, "deadLetterSink")
    return bool(sink.get("ref") or sink.get("uri"))


def own_delivery(manifest: Manifest) -> Delivery:
    """Return the `spec.delivery` of `manifest`; an invalid field counts as absent."""
    policy = manifest.text(*DELIVERY, "backoffPolicy")
    return Delivery(
        retry=max(0, manifest.number(*DELIVERY, "retry") or 0),
        backoff_policy="linear" if policy == "linear" else "exponential" if policy else None,
        backoff_delay_s=duration(manifest, "backoffDelay") or 0.0,
        timeout_s=duration(manifest, "timeout") or None,
    )


def duration(manifest: Manifest, name: str) -> float | None:
    """Return the seconds of a duration field of `spec.delivery`; None when absent or invalid."""
    try:
        return seconds(manifest.text(*DELIVERY, name))
    except ValueError:
        return None


def total_backoff_s(delivery: Delivery) -> float:
    """Return the sum of the delays before all retries."""
    if delivery.retry > _MAX_RETRIES:
        return math.inf if delivery.backoff_delay_s and delivery.backoff_policy else 0.0
    return sum(delivery.pause_s(number) for number in range(delivery.retry))


def max_duration_s(delivery: Delivery, subscriber: Manifest | None) -> float:
    """Return the longest time until the last attempt fails; an attempt without timeout counts 0."""
    limits = [delivery.timeout_s]
    if subscriber is not None and subscriber.is_a(SERVING, "Service"):
        limits.append(service_timeout_s(subscriber))
    attempt = min((limit for limit in limits if limit is not None), default=0.0)
    return (delivery.retry + 1) * attempt + total_backoff_s(delivery)


def service_timeout_s(service: Manifest) -> int:
    """Return after how many seconds without a response a Knative Service answers 504."""
    return min(_pod_s(service, "timeoutSeconds"), _pod_s(service, "responseStartTimeoutSeconds"))


def _pod_s(service: Manifest, name: str) -> int:
    written_s = service.number(*POD, name)
    return SERVICE_TIMEOUT_S if written_s is None else written_s


def class_of(broker: Manifest | None) -> str:
    """Return the class of a Broker; its default is that of a stock installation."""
    annotations = broker.texts("metadata", "annotations") if broker else {}
    return annotations.get("eventing.knative.dev/broker.class", "MTChannelBasedBroker")


def merges(broker: Manifest | None) -> bool:
    """Does its class merge the deliveries of Trigger and Broker?"""
    return class_of(broker) in ("Kafka", "KafkaNamespaced")


def is_channel_based(broker: Manifest | None) -> bool:
    """Does it deliver by channels? Other classes have rules of their own."""
    return class_of(broker) == "MTChannelBasedBroker"


def on_channel(trigger: Manifest, tree: Tree) -> bool:
    """Is its Broker on an in-memory channel, which answers after the deliveries?"""
    broker = tree.broker_of(trigger)
    if broker is None or class_of(broker) != "MTChannelBasedBroker":
        return False
    config = tree.at_ref(broker, "spec", "config")
    texts = config.texts("data").values() if config else ()
    return not any("Channel" in text and "InMemoryChannel" not in text for text in texts)


def format_s(duration_s: float) -> str:
    return "for ever" if duration_s == math.inf else f"{duration_s:g} s"
