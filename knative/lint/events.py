"""Which events reach a Broker, as far as the tree tells, and who makes them.

An EventType says that a type exists. Its producer is the Knative Service of its namespace that
its label `app.kubernetes.io/name` or the last segment of its source names, or else the only one
with that label. One without such a Service comes from outside. A source of a kind that we
know says its types itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from knative.lint.matching import Partial, filter_of
from knative.lint.thing import EVENTING, SOURCES, Thing
from knative.lint.tree import Tree, ref_key

NAME_LABEL = "app.kubernetes.io/name"
PING = "dev.knative.sources.ping"
# What Knative and tracing add on the way.
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
    """An event that may arrive at `broker` (namespace, name), and where the tree says so."""

    thing: Thing
    broker: tuple[str, str]
    type: str
    known: Partial
    producer: Thing | None = None


@dataclass(frozen=True)
class Catalogue:
    """All events of one Broker. `closed`: nothing else arrives there, says the tree."""

    events: tuple[Event, ...]
    closed: bool


@cache
def catalogue(tree: Tree, broker: tuple[str, str]) -> Catalogue:
    declared = _all_declared(tree).get(broker, [])
    sent: list[Event] = []
    opaque = False
    for thing in tree.senders_to(broker):
        sent += _sent(thing, broker)
        # A foreign source, a Sequence's reply or another Broker may send anything.
        opaque |= thing.group != SOURCES or thing.kind not in _KNOWN_SOURCES
    return Catalogue((*declared, *sent), bool(declared) and not opaque and tree.complete)


@cache
def _all_declared(tree: Tree) -> dict[tuple[str, str], list[Event]]:
    """What EventTypes declare, by the Broker that they name."""
    found: dict[tuple[str, str], list[Event]] = {}
    for thing in tree.of(EVENTING, "EventType"):
        for event in _declared(tree, thing):
            found.setdefault(event.broker, []).append(event)
    return found


def receivers(tree: Tree, event: Event) -> list[Thing]:
    """The Triggers that may get `event`; those with a refused filter are not among them."""
    chosen = []
    for trigger in tree.triggers_of(event.broker):
        wanted = filter_of(trigger)
        if wanted is not None and wanted.may_match(event.known):
            chosen.append(trigger)
    return chosen


def _declared(tree: Tree, thing: Thing) -> list[Event]:
    values = {"type": thing.text("spec", "type"), "source": thing.text("spec", "source")}
    for item in thing.items("spec", "attributes"):  # since v1beta3
        if isinstance(item, dict) and isinstance(item.get("value"), str):
            name = str(item.get("name"))
            if item.get("required") or name in values:
                values[name] = item["value"]
    # A value with {variables} or without text says nothing.
    fixed = {name: value for name, value in values.items() if value and "{" not in value}
    if "type" not in fixed:
        return []
    broker = _home(thing)
    if broker is None:
        return []
    return [Event(thing, broker, fixed["type"], Partial(fixed), _producer(tree, thing, fixed))]


def _home(thing: Thing) -> tuple[str, str] | None:
    """The Broker that an EventType belongs to; None when it is something else."""
    ref = thing.mapping("spec", "reference")
    if not ref:  # since v1beta2 that is an event of no Broker
        name = thing.text("spec", "broker")
        return (thing.namespace, name) if name else None
    _, kind, namespace, name = ref_key(ref, thing)
    return (namespace, name) if kind == "Broker" else None


def _producer(tree: Tree, thing: Thing, fixed: dict[str, str]) -> Thing | None:
    wanted = thing.texts("metadata", "labels").get(NAME_LABEL, "")
    last = fixed.get("source", "").rstrip("/").rpartition("/")[2]
    homes = [service for service in tree.services if service.namespace == thing.namespace]
    by_name = {service.name: service for service in homes if service.name}
    if found := by_name.get(wanted) or by_name.get(last):
        return found
    labelled = [s for s in homes if s.texts("metadata", "labels").get(NAME_LABEL) == wanted]
    # A label that several have is that of the whole they are part of.
    return labelled[0] if wanted and len(labelled) == 1 else None


def _sent(source: Thing, broker: tuple[str, str]) -> list[Event]:
    extensions = source.texts("spec", "ceOverrides", "extensions")
    if source.is_a(SOURCES, "PingSource"):
        path = f"/apis/v1/namespaces/{source.namespace}/pingsources/{source.name}"
        fixed = {**extensions, "type": PING, "source": path}
        free = _ADDED | {"id", "time", "specversion", "datacontenttype"}
        return [Event(source, broker, PING, Partial(fixed, frozenset(free - fixed.keys())))]
    if source.is_a(SOURCES, "ApiServerSource"):
        mode = "resource" if source.text("spec", "mode") == "Resource" else "ref"
        types = [t for t in _API_SERVER if f".{mode}." in t]
    else:
        return []  # a record of a KafkaSource that is an event keeps its type
    return [Event(source, broker, t, Partial({**extensions, "type": t})) for t in types]


@cache
def attributes_told(tree: Tree, broker: tuple[str, str]) -> frozenset[str] | None:
    """Every attribute that the Broker's events can have; None when the tree does not say.

    It says so when each declared event lists its attributes, as an EventType v1beta3 does.
    """
    book = catalogue(tree, broker)
    types = [event.thing for event in book.events if event.thing.kind == "EventType"]
    if not book.closed or not all(t.items("spec", "attributes") for t in types):
        return None
    told = set(_ADDED | _STANDARD | {"id", "source", "type", "specversion"})
    for event in book.events:
        told |= event.known.fixed.keys()
        names = event.thing.items("spec", "attributes")
        told |= {str(item.get("name")) for item in names if isinstance(item, dict)}
    for binding in tree.of(SOURCES, "SinkBinding"):
        told |= binding.texts("spec", "ceOverrides", "extensions").keys()
    return frozenset(told)
