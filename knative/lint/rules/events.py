"""KN2xx: does every event have a producer and a consumer?"""

from __future__ import annotations

from collections.abc import Iterator

from knative.lint.events import PING, catalogue, consumers, has_producer
from knative.lint.finding import Violation, rule
from knative.lint.manifest import EVENTING, Manifest, format_key
from knative.lint.matching import ANYTHING, PartialEvent, filter_of
from knative.lint.tree import Tree, broker_key, ref_key


@rule(
    "KN201", "warning", "event without a consumer",
    why="The Broker answers 202 and drops an event that no Trigger matches.",
    fix="Add a Trigger for it, or stop producing it. If its consumers are elsewhere, suppress it: "
    "# knative-lint: ignore KN201 consumer (or the annotation knative-lint/ignore)",
)  # fmt: skip
def event_without_consumer(tree: Tree) -> Iterator[Violation]:
    seen: set[tuple[Manifest, str]] = set()
    for broker in _brokers(tree):
        if any(filter_of(trigger) is None for trigger in tree.triggers_of(broker)):
            continue  # an invalid filter may be the one that matches
        for event in catalogue(tree, broker).events:
            if event.manifest.kind in ("ApiServerSource",) or (event.manifest, event.type) in seen:
                continue  # no consumer needs all of its six types
            seen.add((event.manifest, event.type))
            if not consumers(tree, event):
                path = ("spec",) if event.manifest.kind == "EventType" else ("spec", "sink")
                message = (
                    f"no Trigger of Broker {broker[1]} takes {_named(event.manifest, event.type)}"
                )
                yield Violation(event.manifest, path, message)


@rule(
    "KN202", "warning", "Trigger for an event without a producer",
    why="Its filter matches no EventType and no source of its Broker; no status shows a misspelt "
    "type.",
    fix="Correct the filter, or declare the event by an EventType of this Broker.",
)  # fmt: skip
def trigger_without_producer(tree: Tree) -> Iterator[Violation]:
    for trigger in tree.triggers:
        filter_ = filter_of(trigger)
        if filter_ is None or not filter_.may_match(ANYTHING):
            continue  # KN403, KN401
        if has_producer(tree, trigger, filter_):
            continue
        declared = catalogue(tree, broker_key(trigger))
        pings_only = not filter_.may_match(PartialEvent(excluded={"type": PING}))
        is_ping = filter_.may_match(PartialEvent({"type": PING}))
        if is_ping and pings_only and tree.complete and not _makes_pings(tree):
            message = "no PingSource of this tree sends such a tick"
            yield Violation(trigger, _filter_path(trigger), message)
        elif declared.closed and not (is_ping and _makes_pings(tree)):
            message = f"no EventType or source of Broker {broker_key(trigger)[1]} fits the filter"
            yield Violation(trigger, _filter_path(trigger), message)


@rule(
    "KN203", "warning", "EventType of a Broker that does not exist",
    why="The registry shows an event that cannot be subscribed to.",
    fix="Correct spec.reference (spec.broker before v1beta2), or add the Broker.",
)  # fmt: skip
def event_type_without_broker(tree: Tree) -> Iterator[Violation]:
    for manifest in tree.of(EVENTING, "EventType"):
        ref = manifest.mapping("spec", "reference")
        if ref:
            key, path = ref_key(ref, manifest), ("spec", "reference")
        else:
            key = (EVENTING, "Broker", manifest.namespace, manifest.text("spec", "broker"))
            path = ("spec", "broker")
        if key[3] and tree.is_missing(key, manifest):
            yield Violation(manifest, path, f"there is no {format_key(key)}")


def _brokers(tree: Tree) -> list[tuple[str, str]]:
    return [(broker.namespace, broker.name) for broker in tree.brokers]


def _named(manifest: Manifest, type_: str) -> str:
    return type_ if manifest.kind == "EventType" else f"the events of {manifest} ({type_})"


def _filter_path(trigger: Manifest) -> tuple[str, ...]:
    return ("spec", "filters") if trigger.items("spec", "filters") else ("spec", "filter")


def _makes_pings(tree: Tree) -> bool:
    """Does a Role of this tree allow the creation of PingSources?"""
    for manifest in tree.manifests:
        if manifest.kind in ("Role", "ClusterRole"):
            for number in range(len(manifest.items("rules"))):
                resources = manifest.items("rules", number, "resources")
                verbs = manifest.items("rules", number, "verbs")
                if _any_of(resources, "pingsources") and _any_of(verbs, "create"):
                    return True
    return False


def _any_of(listed: list[str], wanted: str) -> bool:
    return wanted in listed or "*" in listed
