"""The events that reach a Broker, by the EventTypes and sources of the tree, and their producers.

The producer of an EventType is the Knative Service of its namespace that its label
`app.kubernetes.io/name` or the last segment of its source names, or else the only one with that
label. An event without such a Service comes from outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import groupby

from knative.lint.manifest import EVENTING, SOURCES, Manifest
from knative.lint.matching import Filter, PartialEvent, filter_of, only_type
from knative.lint.tree import Tree, broker_key, ref_key

NAME_LABEL = "app.kubernetes.io/name"
PING = "dev.knative.sources.ping"
# Added by Knative and tracing.
_ADDED = frozenset({"knativearrivaltime", "traceparent", "tracestate"})
_STANDARD = frozenset({"time", "subject", "dataschema", "datacontenttype"})
_KNOWN_SOURCES = {"PingSource", "ApiServerSource", "SinkBinding"}
_API_SERVER = [
    f"dev.knative.apiserver.{mode}.{verb}"
    for mode in ("ref", "resource")
    for verb in ("add", "update", "delete")
]


@dataclass(frozen=True)
class Event:
    """An event that may arrive at `broker` (namespace, name), and the manifest that declares it."""

    manifest: Manifest
    broker: tuple[str, str]
    type: str
    attributes: PartialEvent
    producer: Manifest | None = None


@dataclass(frozen=True)
class Catalogue:
    """All events of one Broker. `closed`: no other event arrives there."""

    events: tuple[Event, ...]
    closed: bool


@cache
def catalogue(tree: Tree, broker: tuple[str, str]) -> Catalogue:
    declared = _all_declared(tree).get(broker, [])
    sent: list[Event] = []
    opaque = False
    for manifest in tree.senders_to(broker):
        sent += _sent(manifest, broker)
        # An unknown source, a Sequence's reply or another Broker may send any event.
        opaque |= manifest.group != SOURCES or manifest.kind not in _KNOWN_SOURCES
    return Catalogue((*declared, *sent), bool(declared) and not opaque and tree.complete)


@cache
def _all_declared(tree: Tree) -> dict[tuple[str, str], list[Event]]:
    """Return the events of EventTypes, by their Broker."""
    found: dict[tuple[str, str], list[Event]] = {}
    for manifest in tree.of(EVENTING, "EventType"):
        for event in _declared(tree, manifest):
            found.setdefault(event.broker, []).append(event)
    return found


def consumers(tree: Tree, event: Event) -> list[Manifest]:
    """Return the Triggers whose valid filter may match `event`."""
    by_type = _triggers_by_type(tree, event.broker)
    candidates = sorted([*by_type.get(event.type, ()), *by_type.get(None, ())], key=_place)
    return [
        trigger
        for _, trigger in candidates
        if (filter_ := filter_of(trigger)) is not None and filter_.may_match(event.attributes)
    ]


def has_producer(tree: Tree, trigger: Manifest, filter_: Filter) -> bool:
    """May the valid filter of a Trigger match an event of its Broker?"""
    broker, type_ = broker_key(trigger), only_type(trigger)
    events = catalogue(tree, broker).events
    if type_ is not None:
        events = _events_by_type(tree, broker).get(type_, ())
    return any(filter_.may_match(event.attributes) for event in events)


@cache
def events_by_producer(tree: Tree) -> dict[Manifest, list[Event]]:
    """Return the events of all Brokers of the tree that have a producer, by that."""
    found: dict[Manifest, list[Event]] = {}
    for broker in tree.brokers:
        for event in catalogue(tree, (broker.namespace, broker.name)).events:
            if event.producer is not None:
                found.setdefault(event.producer, []).append(event)
    return found


@cache
def _triggers_by_type(
    tree: Tree, broker: tuple[str, str]
) -> dict[str | None, list[tuple[int, Manifest]]]:
    """Return a Broker's Triggers, with their places, by the only type that they take."""
    found: dict[str | None, list[tuple[int, Manifest]]] = {}
    for numbered in enumerate(tree.triggers_of(broker)):
        found.setdefault(only_type(numbered[1]), []).append(numbered)
    return found


def _place(numbered: tuple[int, Manifest]) -> int:
    return numbered[0]


@cache
def _events_by_type(tree: Tree, broker: tuple[str, str]) -> dict[str, tuple[Event, ...]]:
    found: dict[str, tuple[Event, ...]] = {}
    for type_, events in groupby(
        sorted(catalogue(tree, broker).events, key=lambda event: event.type),
        key=lambda event: event.type,
    ):
        found[type_] = tuple(events)
    return found


def _declared(tree: Tree, manifest: Manifest) -> list[Event]:
    values = {"type": manifest.text("spec", "type"), "source": manifest.text("spec", "source")}
    for item in manifest.items("spec", "attributes"):  # since v1beta3
        if isinstance(item, dict) and isinstance(item.get("value"), str):
            name = str(item.get("name"))
            if item.get("required") or name in values:
                values[name] = item["value"]
    # A value with {variables} may be any text.
    fixed = {name: value for name, value in values.items() if value and "{" not in value}
    if "type" not in fixed:
        return []
    broker = _home(manifest)
    if broker is None:
        return []
    return [
        Event(
            manifest, broker, fixed["type"], PartialEvent(fixed), _producer(tree, manifest, fixed)
        )
    ]


def _home(manifest: Manifest) -> tuple[str, str] | None:
    """Return the Broker of an EventType; None when it references another kind."""
    ref = manifest.mapping("spec", "reference")
    if not ref:  # since v1beta2 that is an event of no Broker
        name = manifest.text("spec", "broker")
        return (manifest.namespace, name) if name else None
    _, kind, namespace, name = ref_key(ref, manifest)
    return (namespace, name) if kind == "Broker" else None


def _producer(tree: Tree, manifest: Manifest, fixed: dict[str, str]) -> Manifest | None:
    wanted = manifest.texts("metadata", "labels").get(NAME_LABEL, "")
    last = fixed.get("source", "").rstrip("/").rpartition("/")[2]
    by_name, by_label = _services_of(tree, manifest.namespace)
    if found := by_name.get(wanted) or by_name.get(last):
        return found
    labelled = by_label.get(wanted, [])
    # A label of several Services names their application.
    return labelled[0] if wanted and len(labelled) == 1 else None


@cache
def _services_of(
    tree: Tree, namespace: str
) -> tuple[dict[str, Manifest], dict[str, list[Manifest]]]:
    """Return the Knative Services of a namespace by name and by label."""
    homes = [service for service in tree.services if service.namespace == namespace]
    by_label: dict[str, list[Manifest]] = {}
    for service in homes:
        label = service.texts("metadata", "labels").get(NAME_LABEL, "")
        by_label.setdefault(label, []).append(service)
    return {service.name: service for service in homes if service.name}, by_label


def _sent(source: Manifest, broker: tuple[str, str]) -> list[Event]:
    extensions = source.texts("spec", "ceOverrides", "extensions")
    if source.is_a(SOURCES, "PingSource"):
        path = f"/apis/v1/namespaces/{source.namespace}/pingsources/{source.name}"
        fixed = {**extensions, "type": PING, "source": path}
        free = _ADDED | {"id", "time", "specversion", "datacontenttype"}
        return [Event(source, broker, PING, PartialEvent(fixed, frozenset(free - fixed.keys())))]
    if source.is_a(SOURCES, "ApiServerSource"):
        mode = "resource" if source.text("spec", "mode") == "Resource" else "ref"
        types = [t for t in _API_SERVER if f".{mode}." in t]
    else:
        return []  # an event in a record of a KafkaSource keeps its type
    return [Event(source, broker, t, PartialEvent({**extensions, "type": t})) for t in types]


@cache
def declared_attributes(tree: Tree, broker: tuple[str, str]) -> frozenset[str] | None:
    """Return every attribute that the Broker's events can have.

    None unless each EventType lists its attributes, as v1beta3 does.
    """
    declared = catalogue(tree, broker)
    types = [event.manifest for event in declared.events if event.manifest.kind == "EventType"]
    if not declared.closed or not all(t.items("spec", "attributes") for t in types):
        return None
    names = set(_ADDED | _STANDARD | {"id", "source", "type", "specversion"})
    for event in declared.events:
        names |= event.attributes.fixed.keys()
        items = event.manifest.items("spec", "attributes")
        names |= {str(item.get("name")) for item in items if isinstance(item, dict)}
    for binding in tree.of(SOURCES, "SinkBinding"):
        names |= binding.texts("spec", "ceOverrides", "extensions").keys()
    return frozenset(names)
