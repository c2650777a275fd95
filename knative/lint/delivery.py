"""Which delivery really holds for a Trigger, and how long it can take."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from knative.lint.thing import POD, SERVING, Path, Thing
from knative.lint.tree import Tree
from knative.local.broker.spec import STOCK_DELIVERY, Delivery
from knative.local.manifests.meta import seconds

DELIVERY: Path = ("spec", "delivery")
SERVICE_TIMEOUT_S = 300  # each time limit of a Knative Service that does not say
_ENDLESS = 64  # more doublings than any clock survives


@dataclass(frozen=True)
class Holds:
    """The delivery that holds, and the object that it is written in (None: Knative's default)."""

    delivery: Delivery
    written_in: Thing | None
    has_sink: bool


def holds_for(trigger: Thing, tree: Tree) -> Holds:
    """A Trigger's delivery replaces its Broker's as a whole; only the dead letter sink stays.

    A Kafka Broker merges the two; of its delivery only the timeout is asked for here.
    """
    broker = tree.broker_of(trigger)
    sunk = any(map(has_sink, filter(None, (trigger, broker)))) or has_default_sink(tree)
    holders = [one for one in (trigger, broker) if one and one.get(*DELIVERY) is not None]
    if not holders:
        return Holds(STOCK_DELIVERY, None, sunk)
    if merges(broker) and len(holders) > 1:
        own, theirs = map(written, holders)
        return Holds(replace(own, timeout_s=own.timeout_s or theirs.timeout_s), trigger, sunk)
    return Holds(written(holders[0]), holders[0], sunk)


def has_default_sink(tree: Tree) -> bool:
    """Does the tree tell Knative of a dead letter sink for every Broker?"""
    defaults = (m for m in tree.of("", "ConfigMap") if m.name == "config-br-defaults")
    return any("deadLetterSink" in text for m in defaults for text in m.texts("data").values())


def has_sink(thing: Thing) -> bool:
    sink = thing.mapping(*DELIVERY, "deadLetterSink")
    return bool(sink.get("ref") or sink.get("uri"))


def written(thing: Thing) -> Delivery:
    """The `spec.delivery` of `thing`; what cannot be read counts as absent."""
    policy = thing.text(*DELIVERY, "backoffPolicy")
    return Delivery(
        retry=max(0, thing.number(*DELIVERY, "retry") or 0),
        backoff_policy="linear" if policy == "linear" else "exponential" if policy else None,
        backoff_delay_s=duration(thing, "backoffDelay") or 0.0,
        timeout_s=duration(thing, "timeout") or None,
    )


def duration(thing: Thing, name: str) -> float | None:
    """The seconds of a duration field of `spec.delivery`; None when absent or no duration."""
    try:
        return seconds(thing.text(*DELIVERY, name))
    except ValueError:
        return None


def pauses_s(delivery: Delivery) -> float:
    """How long all retries wait together."""
    if delivery.retry > _ENDLESS:
        return math.inf if delivery.backoff_delay_s and delivery.backoff_policy else 0.0
    return sum(delivery.pause_s(number) for number in range(delivery.retry))


def budget_s(delivery: Delivery, subscriber: Thing | None) -> float:
    """The longest time until the last attempt has failed; an attempt of unknown length is 0."""
    limits = [delivery.timeout_s]
    if subscriber is not None and subscriber.is_a(SERVING, "Service"):
        limits.append(service_timeout_s(subscriber))
    attempt = min((limit for limit in limits if limit is not None), default=0.0)
    return (delivery.retry + 1) * attempt + pauses_s(delivery)


def service_timeout_s(service: Thing) -> int:
    """After how long a Knative Service that has said nothing yet answers 504."""
    return min(_pod_s(service, "timeoutSeconds"), _pod_s(service, "responseStartTimeoutSeconds"))


def _pod_s(service: Thing, name: str) -> int:
    written_s = service.number(*POD, name)
    return SERVICE_TIMEOUT_S if written_s is None else written_s


def class_of(broker: Thing | None) -> str:
    """The class of a Broker; a stock installation's default where it does not say."""
    annotations = broker.texts("metadata", "annotations") if broker else {}
    return annotations.get("eventing.knative.dev/broker.class", "MTChannelBasedBroker")


def merges(broker: Thing | None) -> bool:
    """Does its class merge deliveries, and have defaults for the fields that are absent?"""
    return class_of(broker) in ("Kafka", "KafkaNamespaced")


def is_channel_based(broker: Thing | None) -> bool:
    """Are its deliveries those of channels? Each other class has rules of its own."""
    return class_of(broker) == "MTChannelBasedBroker"


def on_channel(trigger: Thing, tree: Tree) -> bool:
    """Does its Broker answer late, on an in-memory channel? Others answer once they stored."""
    broker = tree.broker_of(trigger)
    if broker is None or class_of(broker) != "MTChannelBasedBroker":
        return False
    config = tree.at_ref(broker, "spec", "config")
    texts = config.texts("data").values() if config else ()
    return not any("Channel" in text and "InMemoryChannel" not in text for text in texts)


def show_s(duration_s: float) -> str:
    """Seconds as a person reads them."""
    return "for ever" if duration_s == math.inf else f"{duration_s:g} s"
