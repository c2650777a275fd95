"""KN6xx: do the timeouts of producer, Broker and subscriber fit one another?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby

from knative.lint.delivery import (
    DELIVERY,
    SERVICE_TIMEOUT_S,
    EffectiveDelivery,
    effective_delivery,
    format_s,
    max_duration_s,
    on_channel,
    service_timeout_s,
)
from knative.lint.events import Event, consumers, events_by_producer
from knative.lint.finding import Violation, rule
from knative.lint.manifest import SERVING, SOURCES, Manifest, Path
from knative.lint.tree import Tree
from knative.local.manifests.fields import POD

# The label of a Service that sends its events after its answer.
OUTBOX = "dsm.io/outbox"


@rule(
    "KN601", "warning", "retry budget longer than the producer's timeout",
    why="A Broker on an in-memory channel answers a producer only after every delivery and retry. "
    "A producer that times out before sends again, and every consumer gets the event twice.",
    fix="A larger timeoutSeconds at the producer, fewer or shorter attempts at the Trigger, or a "
    "producer that sends after its answer, with the label dsm.io/outbox: \"true\".",
)  # fmt: skip
def producer_timeout_too_short(tree: Tree) -> Iterator[Violation]:
    """Check Services that publish; a Service with one event can reply with it, see KN605."""
    for producer, events in _publishers(tree):
        limit_s = service_timeout_s(producer)
        longest = max((_delivery_time(tree, event) for event in events), default=NO_DELIVERY)
        if longest.duration_s > limit_s:
            message = f"publishing {longest}, the Service has {limit_s} s"
            yield Violation(producer, (*POD, "timeoutSeconds"), message)


@rule(
    "KN602", "warning", "delivery timeout shorter than the subscriber's",
    why="delivery.timeout ends an attempt while the Service is still working; the retry then runs "
    "beside the first one, and the effect happens twice.",
    fix="Make delivery.timeout at least the Service's timeoutSeconds (default 300).",
)  # fmt: skip
def delivery_timeout_too_short(tree: Tree) -> Iterator[Violation]:
    for trigger, subscriber, effective in _deliveries_to_services(tree):
        needed_s, given_s = service_timeout_s(subscriber), effective.delivery.timeout_s
        if given_s is not None and given_s < needed_s:
            message = f"times out after {format_s(given_s)}; {subscriber} works up to {needed_s} s"
            yield Violation(trigger, _timeout_path(trigger, effective), message)


@rule(
    "KN603", "warning", "delivery timeout beyond what Serving allows",
    why="A Knative Service answers 504 after its timeoutSeconds (600 at most), so a much longer "
    "delivery.timeout has no effect and hides that the work does not fit into one request.",
    fix="A delivery.timeout a little above timeoutSeconds; longer work belongs into a Job.",
)  # fmt: skip
def delivery_timeout_too_long(tree: Tree) -> Iterator[Violation]:
    for trigger, subscriber, effective in _deliveries_to_services(tree):
        limit_s, given_s = service_timeout_s(subscriber), effective.delivery.timeout_s
        useful_s = 2 * limit_s + 60 + _reply_time(tree, trigger).duration_s
        if effective.defined_in is trigger and given_s is not None and given_s > useful_s:
            message = f"waits {format_s(given_s)}; {subscriber} answers within {limit_s} s"
            yield Violation(trigger, (*DELIVERY, "timeout"), message)


@rule(
    "KN604", "warning", "timeoutSeconds above the default of responseStartTimeoutSeconds",
    why="A stock installation sets responseStartTimeoutSeconds to 300 where timeoutSeconds is "
    "larger: a response that has not started by then is 504, and the event is retried.",
    fix="Write responseStartTimeoutSeconds beside timeoutSeconds.",
)  # fmt: skip
def response_start_timeout_missing(tree: Tree) -> Iterator[Violation]:
    for service in tree.services:
        timeout_s = service.number(*POD, "timeoutSeconds")
        explicit = service.get(*POD, "responseStartTimeoutSeconds") is not None
        if timeout_s is not None and timeout_s > SERVICE_TIMEOUT_S and not explicit:
            message = f"a response that starts after {SERVICE_TIMEOUT_S} s is a 504"
            yield Violation(service, (*POD, "timeoutSeconds"), message)


@rule(
    "KN605", "warning", "delivery timeout shorter than the deliveries of the reply",
    why="A Broker on an in-memory channel posts a subscriber's reply within the same "
    "delivery.timeout, and is answered after all deliveries of the reply. At the timeout it posts "
    "the reply again, and in the end the dead letter sink gets an event that was handled.",
    fix="A delivery.timeout above all attempts and delays of the Triggers that the reply matches, "
    "or fewer and shorter attempts there. Label a Service that does not reply and sends its events "
    "after its answer with dsm.io/outbox.",
)  # fmt: skip
def reply_timeout_too_short(tree: Tree) -> Iterator[Violation]:
    for trigger in tree.triggers:
        effective = effective_delivery(trigger, tree)
        reply, given_s = _reply_time(tree, trigger), effective.delivery.timeout_s
        if given_s is not None and given_s < reply.duration_s:
            message = f"times out after {format_s(given_s)}; the reply {reply}"
            yield Violation(trigger, _timeout_path(trigger, effective), message)


def _timeout_path(trigger: Manifest, effective: EffectiveDelivery) -> Path:
    """Return the path of a Trigger's timeout, or of its subscriber if the Broker defines it."""
    return (*DELIVERY, "timeout") if effective.defined_in is trigger else ("spec", "subscriber")


@dataclass(frozen=True, order=True)
class DeliveryTime:
    """The longest delivery of an event, and its Trigger."""

    duration_s: float
    type: str = ""
    trigger: str = ""

    def __str__(self) -> str:
        return f"{self.type} can take {format_s(self.duration_s)} (Trigger {self.trigger})"


NO_DELIVERY = DeliveryTime(0.0)


def _delivery_time(tree: Tree, event: Event, besides: Manifest | None = None) -> DeliveryTime:
    """Return the longest delivery of `event` on a channel to a subscriber other than `besides`."""
    longest = NO_DELIVERY
    for trigger in consumers(tree, event):
        subscriber = tree.at(trigger, "spec", "subscriber")
        if on_channel(trigger, tree) and (besides is None or subscriber is not besides):
            duration_s = max_duration_s(effective_delivery(trigger, tree).delivery, subscriber)
            longest = max(longest, DeliveryTime(duration_s, event.type, trigger.name))
    return longest


@cache
def _reply_time(tree: Tree, trigger: Manifest) -> DeliveryTime:
    """Return the longest delivery of a subscriber's reply, if it emits one event only."""
    subscriber, broker = tree.at(trigger, "spec", "subscriber"), tree.broker_of(trigger)
    if subscriber is None or broker is None:
        return NO_DELIVERY
    events = [] if _has_outbox(subscriber) else events_by_producer(tree).get(subscriber, [])
    if len(events) != 1 or events[0].broker != (broker.namespace, broker.name):
        return NO_DELIVERY
    return _delivery_time(tree, events[0], besides=subscriber)


@cache
def _produced_events(tree: Tree) -> list[Event]:
    """Return the events whose producer is a Service of the tree, sorted by producer."""
    produced = events_by_producer(tree).items()
    events = [event for service, own in produced if not _has_outbox(service) for event in own]
    return sorted(events, key=_producer)


def _has_outbox(service: Manifest) -> bool:
    """Does it answer before it sends? Then its answer does not wait for deliveries."""
    return service.texts("metadata", "labels").get(OUTBOX) == "true"


def _deliveries_to_services(
    tree: Tree,
) -> Iterator[tuple[Manifest, Manifest, EffectiveDelivery]]:
    """Return the Triggers whose subscriber is a Knative Service, with that and their delivery."""
    for trigger in tree.triggers:
        subscriber = tree.at(trigger, "spec", "subscriber")
        if subscriber is not None and subscriber.is_a(SERVING, "Service"):
            yield trigger, subscriber, effective_delivery(trigger, tree)


def _publishers(tree: Tree) -> Iterator[tuple[Manifest, list[Event]]]:
    """Return the Knative Services with a sink and more events than fit into their reply."""
    called = {tree.at(trigger, "spec", "subscriber") for trigger in tree.triggers}
    for producer, group in groupby(_produced_events(tree), key=lambda event: event.producer):
        own = list(group)
        cannot_reply = len(own) > 1 or producer not in called
        if producer is not None and cannot_reply and _has_sink(tree, producer):
            yield producer, own


def _producer(event: Event) -> tuple[str, str]:
    assert event.producer is not None
    return event.producer.namespace, event.producer.name


def _has_sink(tree: Tree, service: Manifest) -> bool:
    bound = any(tree.binds(binding, service) for binding in tree.of(SOURCES, "SinkBinding"))
    names = {
        service.text(*POD, "containers", number, "env", at, "name")
        for number in range(len(service.items(*POD, "containers")))
        for at in range(len(service.items(*POD, "containers", number, "env")))
    }
    return bound or "K_SINK" in names
