"""KN3xx: does an event come back to who sent it?"""

from __future__ import annotations

from collections.abc import Iterator

from knative.lint.events import Event, catalogue, receivers
from knative.lint.finding import Found, rule
from knative.lint.matching import ANYTHING, filter_of, together
from knative.lint.thing import EVENTING, Thing
from knative.lint.tree import Tree, broker_at, broker_key, ref_key

Place = tuple[str, str]  # namespace and name of a Broker
Hop = tuple[Thing, Place]  # a Trigger, and the Broker that it sends to
_MOST_WAYS = 1000  # to look at; of Brokers with more between them no loop is claimed
_TTL = "Only the event's time to live ends it, after 255 rounds."


@rule(
    "KN301", "error", "reply loop",
    why=f"A Service that gets what it sends is called by its own reply, again and again. {_TTL}",
    fix="Narrow the Trigger's filter so that it leaves out what the subscriber itself emits; does "
    "the Service itself end the loop, say so: # knative-lint: ignore KN301 how it ends",
)  # fmt: skip
def own_echo(tree: Tree) -> Iterator[Found]:
    echoes: dict[tuple[Thing, Thing], list[str]] = {}
    for event, trigger, service in _edges(tree):
        if event.producer is service:
            echoes.setdefault((trigger, service), []).append(event.type)
    for (trigger, service), types in echoes.items():
        path = ("spec", "filters") if trigger.items("spec", "filters") else ("spec", "filter")
        words = f"{service} gets {', '.join(sorted(types))}, which it emits itself"
        yield Found(trigger, path, words)


@rule(
    "KN302", "note", "Services that call one another in a circle",
    why=f"A request and its answer look like this, and so does a loop without an end. {_TTL}",
    fix="Make sure that some event ends the conversation; then say so in a comment: "
    "# knative-lint: ignore KN302 what ends it",
)  # fmt: skip
def circle(tree: Tree) -> Iterator[Found]:
    onward: dict[Thing, dict[Thing, tuple[Event, Thing]]] = {}
    for event, trigger, service in _edges(tree):
        if event.producer is not None and event.producer is not service:
            onward.setdefault(event.producer, {}).setdefault(service, (event, trigger))
    told: set[frozenset[Thing]] = set()
    for start in onward:
        way = _way_back(start, onward)
        if way and frozenset(way) not in told:
            told.add(frozenset(way))
            trigger = onward[way[-1]][start][1]
            names = " -> ".join(thing.name for thing in (*way, start))
            yield Found(trigger, ("spec", "subscriber"), names)


@rule(
    "KN303", "error", "Broker that feeds itself",
    why=f"What the Trigger forwards arrives at the same Broker and matches again. {_TTL}",
    fix="Send to a Service or to another Broker, one way only.",
)  # fmt: skip
def own_broker(tree: Tree) -> Iterator[Found]:
    onward: dict[Place, list[Hop]] = {}
    for trigger in tree.triggers:
        for place in _forwards(trigger):
            onward.setdefault(broker_key(trigger), []).append((trigger, place))
    for broker, hops in onward.items():
        for hop in hops:
            if _comes_back(broker, hop, onward):
                words = f"Broker {broker[1]} gets its own events back"
                yield Found(hop[0], ("spec", "subscriber"), words)


def _forwards(trigger: Thing) -> Iterator[Place]:
    """The Broker that a Trigger's subscriber is, if it is one."""
    ref = trigger.mapping("spec", "subscriber", "ref")
    key = ref_key(ref, trigger)
    if key[:2] == (EVENTING, "Broker"):
        yield key[2:]
    elif not ref and (place := broker_at(trigger.text("spec", "subscriber", "uri"))):
        yield place


def _comes_back(broker: Place, first: Hop, onward: dict[Place, list[Hop]]) -> bool:
    """Is there an event that passes all Triggers of a way that ends where it began?"""
    ways, tried = [[first]], 0
    while ways and (tried := tried + 1) < _MOST_WAYS:
        way = ways.pop()
        filters = [found for trigger, _ in way if (found := filter_of(trigger))]
        if len(filters) < len(way) or not together(filters).may_match(ANYTHING):
            continue
        if way[-1][1] == broker:
            return True
        been = {place for _, place in way}
        ways += [[*way, hop] for hop in onward.get(way[-1][1], ()) if hop[1] not in been]
    return False


@rule(
    "KN304", "error", "dead letters back to where they failed",
    why="The dead letter sink is the Broker or the subscriber that just failed: the same event "
    "fails again, by way of the same Trigger.",
    fix="Send dead letters to a Service of their own that stores them.",
)  # fmt: skip
def dead_letter_comes_back(tree: Tree) -> Iterator[Found]:
    path = ("spec", "delivery", "deadLetterSink")
    for trigger in tree.triggers:
        broker, own = tree.broker_of(trigger), trigger.mapping(*path)
        theirs = broker.mapping(*path, "ref") if broker is not None and not own else {}
        subscriber = trigger.mapping("spec", "subscriber", "ref")
        if broker is None or not theirs or not subscriber:
            continue
        paths = (broker.get(*path, "uri"), trigger.get("spec", "subscriber", "uri"))
        if ref_key(theirs, broker) == ref_key(subscriber, trigger) and paths[0] == paths[1]:
            words = f"Broker {broker.name}'s sink, which it inherits, is the subscriber itself"
            yield Found(trigger, ("spec", "subscriber"), words)
    for thing in (*tree.brokers, *tree.triggers):
        ref = thing.mapping(*path, "ref")
        if not ref:
            continue
        key = ref_key(ref, thing)
        place = broker_key(thing) if thing.kind == "Trigger" else (thing.namespace, thing.name)
        if key == (EVENTING, "Broker", *place):
            yield Found(thing, path, f"the sink is Broker {place[1]} itself")
        subscriber = thing.mapping("spec", "subscriber", "ref")
        same_uri = thing.get(*path, "uri") == thing.get("spec", "subscriber", "uri")
        if subscriber and same_uri and key == ref_key(subscriber, thing):
            yield Found(thing, path, f"the sink is the subscriber {key[3]} itself")


def _edges(tree: Tree) -> Iterator[tuple[Event, Thing, Thing]]:
    """Each declared event with a Trigger that takes it and the Knative Service that gets it."""
    for broker in tree.brokers:
        for event in catalogue(tree, (broker.namespace, broker.name)).events:
            for trigger in receivers(tree, event) if event.producer else ():
                service = tree.at(trigger, "spec", "subscriber")
                if service in tree.services:
                    assert service is not None
                    yield event, trigger, service


def _way_back(
    start: Thing, onward: dict[Thing, dict[Thing, tuple[Event, Thing]]]
) -> list[Thing] | None:
    """The shortest way from `start` to itself, without its end; None when there is none."""
    ways, seen = [[start]], set[Thing]()
    while ways:
        way = ways.pop(0)
        for after in onward.get(way[-1], {}):
            if after is start:
                return way
            if after not in seen:
                seen.add(after)
                ways.append([*way, after])
    return None
