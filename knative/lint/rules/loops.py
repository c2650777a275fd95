"""KN3xx: does an event return to its producer?"""

from __future__ import annotations

from collections.abc import Iterator

from knative.lint.events import Event, consumers, events_by_producer
from knative.lint.finding import Violation, rule
from knative.lint.manifest import EVENTING, SERVING, Manifest
from knative.lint.matching import ANYTHING, all_of, filter_of
from knative.lint.tree import Tree, broker_at, broker_key, ref_key

Place = tuple[str, str]  # namespace and name of a Broker
Hop = tuple[Manifest, Place]  # a Trigger, and the Broker that it sends to
_MAX_PATHS = 1000  # with more paths between Brokers no loop is reported
_TTL = "Only the event's time to live ends it, after 255 hops."


@rule(
    "KN301", "error", "reply loop",
    why=f"A Service that consumes its own reply is called again and again. {_TTL}",
    fix="Narrow the Trigger's filter so that it excludes the subscriber's own events; if the "
    "Service itself ends the loop, suppress it: # knative-lint: ignore KN301 how it ends",
)  # fmt: skip
def reply_loop(tree: Tree) -> Iterator[Violation]:
    echoes: dict[tuple[Manifest, Manifest], list[str]] = {}
    for event, trigger, service in _edges(tree):
        if event.producer is service:
            echoes.setdefault((trigger, service), []).append(event.type)
    for (trigger, service), types in echoes.items():
        path = ("spec", "filters") if trigger.items("spec", "filters") else ("spec", "filter")
        message = f"{service} consumes {', '.join(sorted(types))}, which it emits itself"
        yield Violation(trigger, path, message)


@rule(
    "KN302", "note", "Services that call one another in a circle",
    why=f"Both a request with its reply and an endless loop have this shape. {_TTL}",
    fix="Make sure that some event ends the conversation; then suppress it: "
    "# knative-lint: ignore KN302 what ends it",
)  # fmt: skip
def service_cycle(tree: Tree) -> Iterator[Violation]:
    onward: dict[Manifest, dict[Manifest, tuple[Event, Manifest]]] = {}
    for event, trigger, service in _edges(tree):
        if event.producer is not None and event.producer is not service:
            onward.setdefault(event.producer, {}).setdefault(service, (event, trigger))
    reported: set[frozenset[Manifest]] = set()
    for start in onward:
        path = _path_back(start, onward)
        if path and frozenset(path) not in reported:
            reported.add(frozenset(path))
            trigger = onward[path[-1]][start][1]
            names = " -> ".join(manifest.name for manifest in (*path, start))
            yield Violation(trigger, ("spec", "subscriber"), names)


@rule(
    "KN303", "error", "Broker loop",
    why=f"The forwarded event arrives at the same Broker and matches the Trigger again. {_TTL}",
    fix="Send to a Service or to another Broker, one way only.",
)  # fmt: skip
def broker_loop(tree: Tree) -> Iterator[Violation]:
    onward: dict[Place, list[Hop]] = {}
    for trigger in tree.triggers:
        for place in _forwards(trigger):
            onward.setdefault(broker_key(trigger), []).append((trigger, place))
    for broker, hops in onward.items():
        for hop in hops:
            if _comes_back(broker, hop, onward):
                message = f"Broker {broker[1]} receives its own events"
                yield Violation(hop[0], ("spec", "subscriber"), message)


def _forwards(trigger: Manifest) -> Iterator[Place]:
    """Return a Trigger's subscriber if it is a Broker."""
    ref = trigger.mapping("spec", "subscriber", "ref")
    key = ref_key(ref, trigger)
    if key[:2] == (EVENTING, "Broker"):
        yield key[2:]
    elif not ref and (place := broker_at(trigger.text("spec", "subscriber", "uri"))):
        yield place


def _comes_back(broker: Place, first: Hop, onward: dict[Place, list[Hop]]) -> bool:
    """Does an event pass all Triggers of a path from the Broker to itself?"""
    paths, tried = [[first]], 0
    while paths and (tried := tried + 1) < _MAX_PATHS:
        path = paths.pop()
        filters = [found for trigger, _ in path if (found := filter_of(trigger))]
        if len(filters) < len(path) or not all_of(filters).may_match(ANYTHING):
            continue
        if path[-1][1] == broker:
            return True
        visited = {place for _, place in path}
        paths += [[*path, hop] for hop in onward.get(path[-1][1], ()) if hop[1] not in visited]
    return False


@rule(
    "KN304", "error", "dead letter loop",
    why="The dead letter sink is the Broker or the subscriber that just failed: the same event "
    "fails again through the same Trigger.",
    fix="Send dead letters to a Service of their own that stores them.",
)  # fmt: skip
def dead_letter_loop(tree: Tree) -> Iterator[Violation]:
    path = ("spec", "delivery", "deadLetterSink")
    for trigger in tree.triggers:
        broker, own = tree.broker_of(trigger), trigger.mapping(*path)
        inherited = broker.mapping(*path, "ref") if broker is not None and not own else {}
        subscriber = trigger.mapping("spec", "subscriber", "ref")
        if broker is None or not inherited or not subscriber:
            continue
        same_uri = broker.get(*path, "uri") == trigger.get("spec", "subscriber", "uri")
        if same_uri and ref_key(inherited, broker) == ref_key(subscriber, trigger):
            message = f"Broker {broker.name}'s sink, which it inherits, is the subscriber itself"
            yield Violation(trigger, ("spec", "subscriber"), message)
    for manifest in (*tree.brokers, *tree.triggers):
        ref = manifest.mapping(*path, "ref")
        if not ref:
            continue
        key = ref_key(ref, manifest)
        place = (
            broker_key(manifest)
            if manifest.kind == "Trigger"
            else (manifest.namespace, manifest.name)
        )
        if key == (EVENTING, "Broker", *place):
            yield Violation(manifest, path, f"the sink is Broker {place[1]} itself")
        subscriber = manifest.mapping("spec", "subscriber", "ref")
        same_uri = manifest.get(*path, "uri") == manifest.get("spec", "subscriber", "uri")
        if subscriber and same_uri and key == ref_key(subscriber, manifest):
            yield Violation(manifest, path, f"the sink is the subscriber {key[3]} itself")


def _edges(tree: Tree) -> Iterator[tuple[Event, Manifest, Manifest]]:
    """Return each declared event with a Trigger that matches it and its Knative Service."""
    for events in events_by_producer(tree).values():
        for event in events:
            for trigger in consumers(tree, event):
                service = tree.at(trigger, "spec", "subscriber")
                if service is not None and service.is_a(SERVING, "Service"):
                    yield event, trigger, service


def _path_back(
    start: Manifest, onward: dict[Manifest, dict[Manifest, tuple[Event, Manifest]]]
) -> list[Manifest] | None:
    """Return the shortest path from `start` to itself, without its end; None when there is none."""
    paths, seen = [[start]], set[Manifest]()
    while paths:
        path = paths.pop(0)
        for after in onward.get(path[-1], {}):
            if after is start:
                return path
            if after not in seen:
                seen.add(after)
                paths.append([*path, after])
    return None
