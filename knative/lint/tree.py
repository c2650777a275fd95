"""The graph that the rules look at: things by kind and name, and what leads where."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from knative.lint.reading import Reading
from knative.lint.thing import EVENTING, MESSAGING, SERVING, SOURCES, Key, Thing

# Kinds that events can be sent to; any other ref is not ours to judge.
_ADDRESSABLE = {
    (SERVING, "Service"), (EVENTING, "Broker"), ("", "Service"), (MESSAGING, "Channel"),
    (MESSAGING, "InMemoryChannel"), ("flows.knative.dev", "Sequence"),
    ("flows.knative.dev", "Parallel"), ("sinks.knative.dev", "JobSink"),
}  # fmt: skip
_INJECTION = "eventing.knative.dev/injection"


class Tree:
    """All objects of one reading."""

    def __init__(self, reading: Reading) -> None:
        self.things = reading.things
        self.reading = reading
        self._by_key = {thing.key: thing for thing in self.things}

    @property
    def complete(self) -> bool:
        """Has everything been read, so that what is not here does not exist?"""
        return not self.reading.unread and not self.reading.broken

    def of(self, group: str, kind: str) -> list[Thing]:
        return [thing for thing in self.things if thing.is_a(group, kind)]

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
        ref = home.get(*path, "ref")
        return self.resolve(ref, home) if isinstance(ref, dict) else None

    def is_missing(self, ref: dict[str, Any], home: Thing) -> bool:
        """Does the ref lead nowhere for certain?"""
        group, kind, namespace, name = ref_key(ref, home)
        if not self.complete or (group, kind) not in _ADDRESSABLE:
            return False
        if (group, kind) == (EVENTING, "Broker"):
            return not self.has_broker(namespace, name)
        if (group, kind) == ("", "Service") and self.find(SERVING, "Service", namespace, name):
            return False  # Knative makes a Kubernetes Service of that name
        return (group, kind, namespace, name) not in self._by_key

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
        return self.find(EVENTING, "Broker", trigger.namespace, broker_key(trigger)[1])

    def triggers_of(self, broker: tuple[str, str]) -> Iterator[Thing]:
        """The Triggers of the Broker (namespace, name)."""
        return (trigger for trigger in self.triggers if broker_key(trigger) == broker)

    def binds(self, binding: Thing, thing: Thing) -> bool:
        """Does the SinkBinding inject K_SINK into this object?"""
        subject = binding.mapping("spec", "subject")
        group = str(subject.get("apiVersion", "")).rpartition("/")[0]
        namespace = subject.get("namespace") or binding.namespace
        if (group, subject.get("kind"), namespace) != (thing.group, thing.kind, thing.namespace):
            return False
        if "selector" in subject:
            selector = ("spec", "subject", "selector")
            if binding.get(*selector, "matchExpressions"):
                return True  # too much to judge
            wanted = binding.texts(*selector, "matchLabels").items()
            return wanted <= thing.texts("metadata", "labels").items()
        return bool(subject.get("name") == thing.name)


def ref_key(ref: dict[str, Any], home: Thing) -> Key:
    group = str(ref.get("apiVersion", "")).rpartition("/")[0] or str(ref.get("group", ""))
    namespace = str(ref.get("namespace") or home.namespace)
    return group, str(ref.get("kind")), namespace, str(ref.get("name"))


def broker_key(trigger: Thing) -> tuple[str, str]:
    """Namespace and name of a Trigger's Broker."""
    ref = trigger.mapping("spec", "brokerRef")
    name = trigger.text("spec", "broker") or str(ref.get("name") or "default")
    return str(ref.get("namespace") or trigger.namespace), name
