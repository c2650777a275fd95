"""The graph that the rules check: manifests by kind and name, and their references."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Any

from knative.lint.installation import Installation
from knative.lint.manifest import EVENTING, MESSAGING, SERVING, SOURCES, Key, Manifest
from knative.lint.reading import Reading

# Addressable kinds; the linter does not check refs to others.
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
    """All objects of one reading; `known` and `installation` are of all readings."""

    def __init__(
        self, reading: Reading, known: Collection[Key], installation: Installation
    ) -> None:
        self.installation = installation
        self.manifests = reading.manifests
        self.reading = reading
        self._known = known
        self._by_key = {manifest.key: manifest for manifest in self.manifests}
        self._kinds = {manifest.key[:3] for manifest in self.manifests}

    @property
    def complete(self) -> bool:
        """Was everything read, so that an absent object does not exist?"""
        return not self.reading.unread and not self.reading.broken

    @cached_property
    def _by_kind(self) -> dict[tuple[str, str], list[Manifest]]:
        found: dict[tuple[str, str], list[Manifest]] = defaultdict(list)
        for manifest in self.manifests:
            found[manifest.group, manifest.kind].append(manifest)
        return found

    def of(self, group: str, kind: str) -> list[Manifest]:
        return self._by_kind.get((group, kind), [])

    @cached_property
    def brokers(self) -> list[Manifest]:
        return self.of(EVENTING, "Broker")

    @cached_property
    def triggers(self) -> list[Manifest]:
        return self.of(EVENTING, "Trigger")

    @cached_property
    def services(self) -> list[Manifest]:
        return self.of(SERVING, "Service")

    @cached_property
    def pings(self) -> list[Manifest]:
        return self.of(SOURCES, "PingSource")

    @cached_property
    def has_default_sink(self) -> bool:
        """Does the tree configure a default dead letter sink for every Broker?"""
        defaults = (m for m in self.of("", "ConfigMap") if m.name == "config-br-defaults")
        return any("deadLetterSink" in text for m in defaults for text in m.texts("data").values())

    def find(self, group: str, kind: str, namespace: str, name: str) -> Manifest | None:
        return self._by_key.get((group, kind, namespace, name))

    def resolve(self, ref: dict[str, Any], home: Manifest) -> Manifest | None:
        """Return the object that a `ref` of `home` names."""
        return self._by_key.get(ref_key(ref, home))

    def at(self, home: Manifest, *path: str) -> Manifest | None:
        """Return the object of the destination at `path` of `home`."""
        return self.at_ref(home, *path, "ref")

    def at_ref(self, home: Manifest, *path: str) -> Manifest | None:
        """Return the object that the ref at `path` of `home` names."""
        ref = home.get(*path)
        return self.resolve(ref, home) if isinstance(ref, dict) else None

    def is_missing(self, key: Key, home: Manifest) -> bool:
        """Is the object that `home` names missing for certain?

        It is where this tree has other objects of its kind in its namespace; where it has none,
        they may be in another repository. Loose files without a namespace may be applied to
        another one than those of the next folder.
        """
        if self.reading.partial or not self.is_unknown(key):
            return False
        if self.reading.loose and not has_namespace(home):
            return (*key[:3], home.file.parent) in self._kinds_beside
        return key[:3] in self._kinds_certain

    @cached_property
    def _kinds_certain(self) -> set[tuple[str, str, str]]:
        certain = (m for m in self.manifests if not self.reading.loose or has_namespace(m))
        return {manifest.key[:3] for manifest in certain}

    @cached_property
    def _kinds_beside(self) -> set[tuple[str, str, str, Path]]:
        return {(*manifest.key[:3], manifest.file.parent) for manifest in self.manifests}

    def is_unknown(self, key: Key) -> bool:
        """Does no reading have an object of that key?"""
        group, kind, namespace, name = key
        if not self.complete or (group, kind) not in _ADDRESSABLE:
            return False
        if (group, kind) == (EVENTING, "Broker") and self.has_broker(namespace, name):
            return False  # the sugar controller may create it
        if (group, kind) == ("", "Service") and self.find(SERVING, "Service", namespace, name):
            return False  # Knative creates a Kubernetes Service of that name
        return key not in self._known

    def has_broker(self, namespace: str, name: str) -> bool:
        """Does the Broker exist, or does the sugar controller create it?"""
        if self.find(EVENTING, "Broker", namespace, name):
            return True
        if name != "default":
            return False
        homes = (t for t in self.of("", "Namespace") if t.name == namespace)
        triggers = (t for t in self.triggers if t.namespace == namespace)
        return any(
            t.texts("metadata", "labels").get(_INJECTION) == "enabled" for t in homes
        ) or any(t.texts("metadata", "annotations").get(_INJECTION) == "enabled" for t in triggers)

    def broker_of(self, trigger: Manifest) -> Manifest | None:
        return self.find(EVENTING, "Broker", *broker_key(trigger))

    @cached_property
    def _by_broker(self) -> dict[tuple[str, str], list[Manifest]]:
        found: dict[tuple[str, str], list[Manifest]] = defaultdict(list)
        for trigger in self.triggers:
            found[broker_key(trigger)].append(trigger)
        return found

    def triggers_of(self, broker: tuple[str, str]) -> list[Manifest]:
        """Return the Triggers of the Broker (namespace, name)."""
        return self._by_broker.get(broker, [])

    @cached_property
    def _senders(self) -> dict[tuple[str, str], list[Manifest]]:
        found: dict[tuple[str, str], list[Manifest]] = defaultdict(list)
        for manifest in self.manifests:
            for broker in sent_to(manifest):
                found[broker].append(manifest)
        return found

    def senders_to(self, broker: tuple[str, str]) -> list[Manifest]:
        """Return the objects whose destination is the Broker (namespace, name)."""
        return self._senders.get(broker, [])

    def binds(self, binding: Manifest, manifest: Manifest) -> bool:
        """Does the SinkBinding inject K_SINK into this object?"""
        subject = binding.mapping("spec", "subject")
        group = str(subject.get("apiVersion", "")).rpartition("/")[0]
        namespace = subject.get("namespace") or binding.namespace
        made = (
            manifest.is_a("batch", "CronJob") and subject.get("kind") == "Job"
        )  # by it, with labels
        kind = "Job" if made else manifest.kind
        if (group, subject.get("kind"), namespace) != (manifest.group, kind, manifest.namespace):
            return False
        if "selector" in subject:
            selector = ("spec", "subject", "selector")
            if binding.get(*selector, "matchExpressions"):
                return True  # not evaluated here
            wanted = binding.texts(*selector, "matchLabels").items()
            home = ("spec", "jobTemplate", "metadata") if made else ("metadata",)
            return wanted <= manifest.texts(*home, "labels").items()
        return bool(subject.get("name") == manifest.name)

    def has_kind(self, group: str, kind: str, namespace: str) -> bool:
        """Is there an object of that kind in that namespace?"""
        return (group, kind, namespace) in self._kinds


def has_namespace(manifest: Manifest) -> bool:
    return bool(manifest.text("metadata", "namespace"))


def ref_key(ref: dict[str, Any], home: Manifest) -> Key:
    group = str(ref.get("apiVersion", "")).rpartition("/")[0] or str(ref.get("group", ""))
    namespace = str(ref.get("namespace") or home.namespace)
    return group, str(ref.get("kind")), namespace, str(ref.get("name"))


def broker_at(uri: str) -> tuple[str, str] | None:
    """Return namespace and name of the Broker of an ingress URL."""
    found = _INGRESS.fullmatch(uri)
    return (found[1], found[2]) if found else None


def sent_to(manifest: Manifest) -> set[tuple[str, str]]:
    """Return the Brokers (namespace, name) that are destinations of an object."""
    refs = (ref_key(ref, manifest) for _, ref in manifest.refs)
    named = {key[2:] for key in refs if key[:2] == (EVENTING, "Broker")}
    return named | {place for uri in manifest.uris() if (place := broker_at(uri))}


def broker_key(trigger: Manifest) -> tuple[str, str]:
    """Return namespace and name of a Trigger's Broker."""
    ref = trigger.mapping("spec", "brokerRef")
    name = trigger.text("spec", "broker") or str(ref.get("name") or "default")
    return str(ref.get("namespace") or trigger.namespace), name
