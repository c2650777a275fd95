"""The graph that the rules look at: things by kind and name, and what leads where."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection
from functools import cached_property
from typing import Any

from knative.lint.reading import Reading
from knative.lint.thing import EVENTING, MESSAGING, SERVING, SOURCES, Key, Thing

# Kinds that events can be sent to; any other ref is not ours to judge.
_ADDRESSABLE = {
    (SERVING, "Service"), (EVENTING, "Broker"), ("", "Service"), (MESSAGING, "Channel"),
    (MESSAGING, "InMemoryChannel"), ("flows.knative.dev", "Sequence"),
    ("flows.knative.dev", "Parallel"), ("sinks.knative.dev", "JobSink"),
    ("sinks.knative.dev", "IntegrationSink"), (EVENTING, "EventTransform"), (EVENTING, "KafkaSink"),
    (MESSAGING, "KafkaChannel"),
}  # fmt: skip
_INGRESS = re.compile(r"https?://[\w-]*broker-ingress\.[^/]+/([^/]+)/([^/?#]+)/?")
_INJECTION = "eventing.knative.dev/injection"


class Tree:
    """All objects of one reading; `known` are the keys of all that was read, in whatever tree."""

    def __init__(self, reading: Reading, known: Collection[Key]) -> None:
        self.things = reading.things
        self.reading = reading
        self._known = known
        self._by_key = {thing.key: thing for thing in self.things}
        self._kinds = {thing.key[:3] for thing in self.things}

    @property
    def complete(self) -> bool:
        """Has everything been read, so that what is not here does not exist?"""
        return not self.reading.unread and not self.reading.broken

    @cached_property
    def _by_kind(self) -> dict[tuple[str, str], list[Thing]]:
        found: dict[tuple[str, str], list[Thing]] = defaultdict(list)
        for thing in self.things:
            found[thing.group, thing.kind].append(thing)
        return found

    def of(self, group: str, kind: str) -> list[Thing]:
        return self._by_kind.get((group, kind), [])

    @cached_property
    def brokers(self) -> list[Thing]:
        return self.of(EVENTING, "Broker")

    @cached_property
    def triggers(self) -> list[Thing]:
        return self.of(EVENTING, "Trigger")

    @cached_property
    def services(self) -> list[Thing]:
        return self.of(SERVING, "Service")

    @cached_property
    def pings(self) -> list[Thing]:
        return self.of(SOURCES, "PingSource")

    def find(self, group: str, kind: str, namespace: str, name: str) -> Thing | None:
        return self._by_key.get((group, kind, namespace, name))

    def resolve(self, ref: dict[str, Any], home: Thing) -> Thing | None:
        """The object that a `ref` written in `home` names."""
        return self._by_key.get(ref_key(ref, home))

    def at(self, home: Thing, *path: str) -> Thing | None:
        """The object that the destination at `path` of `home` refers to."""
        return self.at_ref(home, *path, "ref")

    def at_ref(self, home: Thing, *path: str) -> Thing | None:
        """The object that the ref at `path` of `home` names."""
        ref = home.get(*path)
        return self.resolve(ref, home) if isinstance(ref, dict) else None

    def is_missing(self, key: Key) -> bool:
        """Does that name lead nowhere for certain?

        It does where this tree has other objects of its kind in its namespace; where it has none,
        they may well be somebody else's.
        """
        return self.is_away(key) and key[:3] in self._kinds

    def is_away(self, key: Key) -> bool:
        """Has nothing of that name been read, in this tree or beside it?"""
        group, kind, namespace, name = key
        if not self.complete or (group, kind) not in _ADDRESSABLE:
            return False
        if (group, kind) == (EVENTING, "Broker") and self.has_broker(namespace, name):
            return False  # which sugar may make
        if (group, kind) == ("", "Service") and self.find(SERVING, "Service", namespace, name):
            return False  # Knative makes a Kubernetes Service of that name
        return key not in self._known

    def has_broker(self, namespace: str, name: str) -> bool:
        """Is there such a Broker, or does sugar make it?"""
        if self.find(EVENTING, "Broker", namespace, name):
            return True
        if name != "default":
            return False
        homes = (t for t in self.of("", "Namespace") if t.name == namespace)
        triggers = (t for t in self.triggers if t.namespace == namespace)
        return any(
            t.texts("metadata", "labels").get(_INJECTION) == "enabled" for t in homes
        ) or any(t.texts("metadata", "annotations").get(_INJECTION) == "enabled" for t in triggers)

    def broker_of(self, trigger: Thing) -> Thing | None:
        return self.find(EVENTING, "Broker", *broker_key(trigger))

    @cached_property
    def _by_broker(self) -> dict[tuple[str, str], list[Thing]]:
        found: dict[tuple[str, str], list[Thing]] = defaultdict(list)
        for trigger in self.triggers:
            found[broker_key(trigger)].append(trigger)
        return found

    def triggers_of(self, broker: tuple[str, str]) -> list[Thing]:
        """The Triggers of the Broker (namespace, name)."""
        return self._by_broker.get(broker, [])

    @cached_property
    def _senders(self) -> dict[tuple[str, str], list[Thing]]:
        found: dict[tuple[str, str], list[Thing]] = defaultdict(list)
        for thing in self.things:
            for broker in sent_to(thing):
                found[broker].append(thing)
        return found

    def senders_to(self, broker: tuple[str, str]) -> list[Thing]:
        """What names the Broker (namespace, name) as a destination."""
        return self._senders.get(broker, [])

    def binds(self, binding: Thing, thing: Thing) -> bool:
        """Does the SinkBinding inject K_SINK into this object?"""
        subject = binding.mapping("spec", "subject")
        group = str(subject.get("apiVersion", "")).rpartition("/")[0]
        namespace = subject.get("namespace") or binding.namespace
        made = thing.is_a("batch", "CronJob") and subject.get("kind") == "Job"  # by it, with labels
        kind = "Job" if made else thing.kind
        if (group, subject.get("kind"), namespace) != (thing.group, kind, thing.namespace):
            return False
        if "selector" in subject:
            selector = ("spec", "subject", "selector")
            if binding.get(*selector, "matchExpressions"):
                return True  # too much to judge
            wanted = binding.texts(*selector, "matchLabels").items()
            home = ("spec", "jobTemplate", "metadata") if made else ("metadata",)
            return wanted <= thing.texts(*home, "labels").items()
        return bool(subject.get("name") == thing.name)

    def holds(self, group: str, kind: str, namespace: str) -> bool:
        """Is there an object of that kind in that namespace?"""
        return (group, kind, namespace) in self._kinds


def ref_key(ref: dict[str, Any], home: Thing) -> Key:
    group = str(ref.get("apiVersion", "")).rpartition("/")[0] or str(ref.get("group", ""))
    namespace = str(ref.get("namespace") or home.namespace)
    return group, str(ref.get("kind")), namespace, str(ref.get("name"))


def broker_at(uri: str) -> tuple[str, str] | None:
    """Namespace and name of the Broker that a URL of an ingress of Brokers leads to."""
    found = _INGRESS.fullmatch(uri)
    return (found[1], found[2]) if found else None


def sent_to(thing: Thing) -> set[tuple[str, str]]:
    """The Brokers, as (namespace, name), that an object names as a destination."""
    refs = (ref_key(ref, thing) for _, ref in thing.refs())
    named = {key[2:] for key in refs if key[:2] == (EVENTING, "Broker")}
    return named | {place for uri in thing.uris() if (place := broker_at(uri))}


def broker_key(trigger: Thing) -> tuple[str, str]:
    """Namespace and name of a Trigger's Broker."""
    ref = trigger.mapping("spec", "brokerRef")
    name = trigger.text("spec", "broker") or str(ref.get("name") or "default")
    return str(ref.get("namespace") or trigger.namespace), name
