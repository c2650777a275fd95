"""KN2xx: does every event have a producer and a consumer?"""

from __future__ import annotations

from collections.abc import Iterator

from knative.lint.events import PING, catalogue, receivers
from knative.lint.finding import Found, rule
from knative.lint.matching import ANYTHING, Partial, filter_of
from knative.lint.thing import EVENTING, Thing, named
from knative.lint.tree import Tree, broker_key, ref_key


@rule(
    "KN201", "warning", "event that nobody consumes",
    why="The Broker answers 202 and drops an event that no Trigger wants.",
    fix="Add a Trigger for it, or stop producing it. Is it for consumers elsewhere, say so: "
    "# knative-lint: ignore KN201 who reads it (or the annotation knative-lint/ignore)",
)  # fmt: skip
def unheard(tree: Tree) -> Iterator[Found]:
    seen: set[tuple[Thing, str]] = set()
    for broker in _brokers(tree):
        if any(filter_of(trigger) is None for trigger in tree.triggers_of(broker)):
            continue  # a filter that nobody can read may be the one
        for event in catalogue(tree, broker).events:
            if event.thing.kind in ("ApiServerSource",) or (event.thing, event.type) in seen:
                continue  # it sends six types; nobody wants them all
            seen.add((event.thing, event.type))
            if not receivers(tree, event):
                path = ("spec",) if event.thing.kind == "EventType" else ("spec", "sink")
                words = f"no Trigger of Broker {broker[1]} takes {_named(event.thing, event.type)}"
                yield Found(event.thing, path, words)


@rule(
    "KN202", "warning", "Trigger that waits for an event that nobody produces",
    why="Its filter fits no EventType and no source of its Broker: a misspelt type looks exactly "
    "like this, and nothing else tells.",
    fix="Correct the filter, or declare the event by an EventType of this Broker.",
)  # fmt: skip
def unproduced(tree: Tree) -> Iterator[Found]:
    for trigger in tree.triggers:
        wanted = filter_of(trigger)
        if wanted is None or not wanted.may_match(ANYTHING):
            continue  # KN403, KN401
        book = catalogue(tree, broker_key(trigger))
        if any(wanted.may_match(event.known) for event in book.events):
            continue
        pings_only = not wanted.may_match(Partial(barred={"type": PING}))
        is_ping = wanted.may_match(Partial({"type": PING}))
        if is_ping and pings_only and tree.complete and not _makes_pings(tree):
            words = "no PingSource of this tree sends such a tick"
            yield Found(trigger, _filter_path(trigger), words)
        elif book.closed and not (is_ping and _makes_pings(tree)):
            words = f"no EventType or source of Broker {broker_key(trigger)[1]} fits the filter"
            yield Found(trigger, _filter_path(trigger), words)


@rule(
    "KN203", "warning", "EventType of a Broker that does not exist",
    why="The registry shows an event that cannot be subscribed to.",
    fix="Correct spec.reference (spec.broker before v1beta2), or add the Broker.",
)  # fmt: skip
def homeless_type(tree: Tree) -> Iterator[Found]:
    for thing in tree.of(EVENTING, "EventType"):
        ref = thing.mapping("spec", "reference")
        if ref:
            key, path = ref_key(ref, thing), ("spec", "reference")
        else:
            key = (EVENTING, "Broker", thing.namespace, thing.text("spec", "broker"))
            path = ("spec", "broker")
        if key[3] and tree.is_missing(key):
            yield Found(thing, path, f"there is no {named(key)}")


def _brokers(tree: Tree) -> list[tuple[str, str]]:
    return [(broker.namespace, broker.name) for broker in tree.brokers]


def _named(thing: Thing, type_: str) -> str:
    return type_ if thing.kind == "EventType" else f"the events of {thing} ({type_})"


def _filter_path(trigger: Thing) -> tuple[str, ...]:
    return ("spec", "filters") if trigger.items("spec", "filters") else ("spec", "filter")


def _makes_pings(tree: Tree) -> bool:
    """May somebody of this tree create PingSources while it runs?"""
    for thing in tree.things:
        if thing.kind in ("Role", "ClusterRole"):
            for number in range(len(thing.items("rules"))):
                resources = thing.items("rules", number, "resources")
                verbs = thing.items("rules", number, "verbs")
                if _any_of(resources, "pingsources") and _any_of(verbs, "create"):
                    return True
    return False


def _any_of(listed: list[str], wanted: str) -> bool:
    return wanted in listed or "*" in listed
