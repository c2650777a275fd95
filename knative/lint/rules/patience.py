"""KN6xx: do the time limits of producer, Broker and subscriber fit one another?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby

from knative.lint.delivery import (
    DELIVERY,
    SERVICE_TIMEOUT_S,
    Holds,
    budget_s,
    holds_for,
    on_channel,
    service_timeout_s,
    show_s,
)
from knative.lint.events import Event, catalogue, receivers
from knative.lint.finding import Found, rule
from knative.lint.thing import POD, SERVING, SOURCES, Path, Thing
from knative.lint.tree import Tree

# The label of a Service whose events leave after its answer.
OUTBOX = "dsm.io/outbox"


@rule(
    "KN601", "warning", "retry budget longer than the producer's timeout",
    why="A Broker on an in-memory channel answers a producer only after every delivery and retry. "
    "A producer that gives up before sends again, and everybody gets the event twice.",
    fix="A larger timeoutSeconds at the producer, fewer or shorter attempts at the Trigger, or a "
    "producer that sends after its answer, and says so by the label dsm.io/outbox: \"true\".",
)  # fmt: skip
def impatient_producer(tree: Tree) -> Iterator[Found]:
    """A Service that may publish itself: one event can be the reply, see KN605."""
    for producer, events in _publishers(tree):
        limit_s = service_timeout_s(producer)
        worst = max((_behind(tree, event) for event in events), default=NOBODY)
        if worst.takes_s > limit_s:
            words = f"publishing {worst}, the Service has {limit_s} s"
            yield Found(producer, (*POD, "timeoutSeconds"), words)


@rule(
    "KN602", "warning", "Broker less patient than the subscriber",
    why="delivery.timeout ends an attempt while the Service is still at work; the retry then runs "
    "beside the first one, and the effect happens twice.",
    fix="Make delivery.timeout at least the Service's timeoutSeconds (300 unless it says).",
)  # fmt: skip
def impatient_broker(tree: Tree) -> Iterator[Found]:
    for trigger in tree.triggers:
        subscriber = tree.at(trigger, "spec", "subscriber")
        if subscriber is None or not subscriber.is_a(SERVING, "Service"):
            continue
        held = holds_for(trigger, tree)
        needed_s, given_s = service_timeout_s(subscriber), held.delivery.timeout_s
        if given_s is not None and given_s < needed_s:
            words = f"gives up after {show_s(given_s)}; {subscriber} works up to {needed_s} s"
            yield Found(trigger, _timeout_of(trigger, held), words)


@rule(
    "KN603", "warning", "delivery timeout beyond what Serving allows",
    why="A Knative Service answers 504 after its timeoutSeconds (600 at most), so a much longer "
    "delivery.timeout is never reached and only hides that the work does not fit into one request.",
    fix="A delivery.timeout a little above timeoutSeconds; longer work belongs into a Job.",
)  # fmt: skip
def needless_patience(tree: Tree) -> Iterator[Found]:
    for trigger in tree.triggers:
        subscriber = tree.at(trigger, "spec", "subscriber")
        if subscriber is None or not subscriber.is_a(SERVING, "Service"):
            continue
        held = holds_for(trigger, tree)
        limit_s, given_s = service_timeout_s(subscriber), held.delivery.timeout_s
        useful_s = 2 * limit_s + 60 + _reply(tree, trigger).takes_s
        if held.written_in is trigger and given_s is not None and given_s > useful_s:
            words = f"waits {show_s(given_s)}; {subscriber} answers within {limit_s} s"
            yield Found(trigger, (*DELIVERY, "timeout"), words)


@rule(
    "KN604", "warning", "timeoutSeconds that a default cuts short",
    why="A stock installation sets responseStartTimeoutSeconds to 300 where timeoutSeconds is "
    "larger: an answer that has not begun by then is 504, and what was longer comes again.",
    fix="Write responseStartTimeoutSeconds beside timeoutSeconds.",
)  # fmt: skip
def cut_short(tree: Tree) -> Iterator[Found]:
    for service in tree.services:
        whole_s = service.number(*POD, "timeoutSeconds")
        said = service.get(*POD, "responseStartTimeoutSeconds") is not None
        if whole_s is not None and whole_s > SERVICE_TIMEOUT_S and not said:
            words = f"an answer that begins after {SERVICE_TIMEOUT_S} s is a 504"
            yield Found(service, (*POD, "timeoutSeconds"), words)


@rule(
    "KN605", "warning", "reply that its Trigger does not wait for",
    why="A Broker on an in-memory channel posts a subscriber's reply within the same "
    "delivery.timeout, and is answered when all that the reply sets off is done. Cut short, it "
    "posts the reply again, and in the end the dead letter sink gets an event that was served.",
    fix="A delivery.timeout above all attempts and pauses of the Triggers that the reply passes, "
    "or fewer and shorter attempts there. A Service that replies with nothing and sends its events "
    "after its answer says so by the label dsm.io/outbox.",
)  # fmt: skip
def impatient_reply(tree: Tree) -> Iterator[Found]:
    for trigger in tree.triggers:
        held = holds_for(trigger, tree)
        reply, given_s = _reply(tree, trigger), held.delivery.timeout_s
        if given_s is not None and given_s < reply.takes_s:
            words = f"gives up after {show_s(given_s)}; the reply {reply}"
            yield Found(trigger, _timeout_of(trigger, held), words)


def _timeout_of(trigger: Thing, held: Holds) -> Path:
    """Where a Trigger says its timeout; its Broker's is a matter of who subscribes."""
    return (*DELIVERY, "timeout") if held.written_in is trigger else ("spec", "subscriber")


@dataclass(frozen=True, order=True)
class Behind:
    """The longest that an event can keep its Broker busy, and through which Trigger."""

    takes_s: float
    type: str = ""
    trigger: str = ""

    def __str__(self) -> str:
        return f"{self.type} can take {show_s(self.takes_s)} (Trigger {self.trigger})"


NOBODY = Behind(0.0)


def _behind(tree: Tree, event: Event, besides: Thing | None = None) -> Behind:
    """What the Triggers on channels may do with `event`, those to `besides` left out."""
    worst = NOBODY
    for trigger in receivers(tree, event):
        subscriber = tree.at(trigger, "spec", "subscriber")
        if on_channel(trigger, tree) and (besides is None or subscriber is not besides):
            takes_s = budget_s(holds_for(trigger, tree).delivery, subscriber)
            worst = max(worst, Behind(takes_s, event.type, trigger.name))
    return worst


@cache
def _reply(tree: Tree, trigger: Thing) -> Behind:
    """What the reply of a Trigger's subscriber sets off: that of a Service which says one thing."""
    subscriber, broker = tree.at(trigger, "spec", "subscriber"), tree.broker_of(trigger)
    if subscriber is None or broker is None:
        return NOBODY
    events = [event for event in _made(tree) if event.producer == subscriber]
    if len(events) != 1 or events[0].broker != (broker.namespace, broker.name):
        return NOBODY
    return _behind(tree, events[0], besides=subscriber)


@cache
def _made(tree: Tree) -> list[Event]:
    """The events whose producer is a Service of the tree, in the order of their producers."""
    brokers = [(broker.namespace, broker.name) for broker in tree.brokers]
    events = [event for broker in brokers for event in catalogue(tree, broker).events]
    return sorted((e for e in events if e.producer and not _has_outbox(e.producer)), key=_producer)


def _has_outbox(service: Thing) -> bool:
    """Does it answer before it sends? Then nobody waits for what its events set off."""
    return service.texts("metadata", "labels").get(OUTBOX) == "true"


def _publishers(tree: Tree) -> Iterator[tuple[Thing, list[Event]]]:
    """Knative Services that know a sink and cannot say everything in their reply."""
    called = {tree.at(trigger, "spec", "subscriber") for trigger in tree.triggers}
    for producer, group in groupby(_made(tree), key=lambda event: event.producer):
        own = list(group)
        cannot_reply = len(own) > 1 or producer not in called
        if producer is not None and cannot_reply and _knows_a_sink(tree, producer):
            yield producer, own


def _producer(event: Event) -> tuple[str, str]:
    assert event.producer is not None
    return event.producer.namespace, event.producer.name


def _knows_a_sink(tree: Tree, service: Thing) -> bool:
    bound = any(tree.binds(binding, service) for binding in tree.of(SOURCES, "SinkBinding"))
    names = {
        service.text(*POD, "containers", number, "env", at, "name")
        for number in range(len(service.items(*POD, "containers")))
        for at in range(len(service.items(*POD, "containers", number, "env")))
    }
    return bound or "K_SINK" in names
