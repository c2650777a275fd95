"""KN6xx: do the time limits of producer, Broker and subscriber fit one another?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from knative.lint.delivery import (
    DELIVERY,
    SERVICE_TIMEOUT_S,
    budget_s,
    holds_for,
    on_channel,
    service_timeout_s,
    show_s,
)
from knative.lint.events import Event, catalogue, receivers
from knative.lint.finding import Found, rule
from knative.lint.thing import POD, SERVING, SOURCES, Thing
from knative.lint.tree import Tree


@rule(
    "KN601", "warning", "retry budget longer than the producer's timeout",
    why="A Broker on an in-memory channel answers a producer only after every delivery and retry. "
    "A producer that gives up before sends again, and everybody gets the event twice.",
    fix="A larger timeoutSeconds at the producer, fewer or shorter attempts at the Trigger, or a "
    "producer that sends in the background (then ignore this rule with a comment).",
)  # fmt: skip
def impatient_producer(tree: Tree) -> Iterator[Found]:
    """A Service that may publish itself: one event can be the reply, which waits for nobody."""
    for producer, events in _publishers(tree):
        limit_s = service_timeout_s(producer)
        worst_s, worst = 0.0, ("", "")
        for event in events:
            for trigger in receivers(tree, event):
                if not on_channel(tree.broker_of(trigger)):
                    continue
                subscriber = tree.at(trigger, "spec", "subscriber")
                takes_s = budget_s(holds_for(trigger, tree).delivery, subscriber)
                if takes_s > worst_s:
                    worst_s, worst = takes_s, (event.type, trigger.name)
        if worst_s > limit_s:
            words = (
                f"publishing {worst[0]} can take {show_s(worst_s)} (Trigger {worst[1]}), the "
                f"Service has {limit_s} s"
            )
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
            where = held.written_in or trigger
            path = (*DELIVERY, "timeout") if where is trigger else ("spec", "subscriber")
            words = f"gives up after {show_s(given_s)}; {subscriber} works up to {needed_s} s"
            yield Found(trigger, path, words)


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
        if held.written_in is trigger and given_s is not None and given_s > 2 * limit_s + 60:
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


def _publishers(tree: Tree) -> Iterator[tuple[Thing, list[Event]]]:
    """Knative Services that know a sink and cannot say everything in their reply."""
    events = [
        event
        for broker in tree.brokers
        for event in catalogue(tree, (broker.namespace, broker.name)).events
        if event.producer is not None
    ]
    called = {tree.at(trigger, "spec", "subscriber") for trigger in tree.triggers}
    for producer, group in groupby(sorted(events, key=_producer), key=lambda e: e.producer):
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
