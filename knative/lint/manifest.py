"""One object of the tree; a field of an invalid type reads as an absent field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path as File
from typing import Any

from knative.local.manifests.admission import refusals
from knative.local.manifests.fields import Fault, value_at
from knative.local.manifests.resource import Resource

Path = tuple[str | int, ...]
Key = tuple[str, str, str, str]  # group, kind, namespace, name

SERVING, EVENTING, SOURCES = "serving.knative.dev", "eventing.knative.dev", "sources.knative.dev"
MESSAGING = "messaging.knative.dev"


@dataclass(frozen=True, eq=False)
class Manifest:
    """A view of a Resource; equal only to itself."""

    resource: Resource

    @cached_property
    def kind(self) -> str:
        return self.resource.kind

    @cached_property
    def name(self) -> str:
        return self.resource.name

    @cached_property
    def group(self) -> str:
        return str(self.resource.body.get("apiVersion", "")).rpartition("/")[0]

    @cached_property
    def namespace(self) -> str:
        return self.text("metadata", "namespace") or "default"

    @cached_property
    def key(self) -> Key:
        return self.group, self.kind, self.namespace, self.name

    @property
    def file(self) -> File:
        return self.resource.source.file

    def line(self, path: Path) -> int | None:
        """Return the line of `path` in its file, or of the nearest parent."""
        return None if self.resource.generated else self.resource.source.line_of(path)

    def is_a(self, group: str, kind: str) -> bool:
        return self.group == group and self.kind == kind

    @cached_property
    def is_knative(self) -> bool:
        return self.group.endswith(".knative.dev")

    def get(self, *path: str | int) -> Any:
        """Return the value at `path`; None where it is absent."""
        return value_at(self.resource.body, *path)

    def text(self, *path: str | int) -> str:
        value = self.get(*path)
        return value if isinstance(value, str) else ""

    def number(self, *path: str | int) -> int | None:
        value = self.get(*path)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def mapping(self, *path: str | int) -> dict[str, Any]:
        value = self.get(*path)
        return value if isinstance(value, dict) else {}

    def items(self, *path: str | int) -> list[Any]:
        value = self.get(*path)
        return value if isinstance(value, list) else []

    def each(self, *path: str | int) -> Iterator[Path]:
        """Return the path of each item of the list at `path`."""
        return ((*path, number) for number in range(len(self.items(*path))))

    def texts(self, *path: str | int) -> dict[str, str]:
        """Return the entries of a mapping whose value is a string."""
        return {k: v for k, v in self.mapping(*path).items() if isinstance(v, str)}

    @cached_property
    def refs(self) -> list[tuple[Path, dict[str, Any]]]:
        """Every `ref` of a destination, with its path."""
        found = list(_refs(self.resource.body.get("spec"), ("spec",)))
        channel = self.get("spec", "channel")
        if self.is_a(MESSAGING, "Subscription") and isinstance(channel, dict):
            found.append((("spec", "channel"), channel))
        return found

    @cached_property
    def refusals(self) -> list[Fault]:
        """What an admission webhook refuses."""
        return list(refusals(self.resource.body))

    def uris(self) -> Iterator[str]:
        """Return every `uri` of a destination without a ref."""
        yield from _uris(self.resource.body.get("spec"))

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def _refs(value: Any, path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    if isinstance(value, dict):
        for key, item in value.items():
            here = (*path, str(key))
            if key == "ref" and isinstance(item, dict) and "kind" in item and "name" in item:
                yield here, item
            else:
                yield from _refs(item, here)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _refs(item, (*path, number))


def _uris(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("uri"), str) and "ref" not in value:
            yield value["uri"]
        for item in value.values():
            yield from _uris(item)
    elif isinstance(value, list):
        for item in value:
            yield from _uris(item)


def format_key(key: Key) -> str:
    _, kind, namespace, name = key
    return f"{kind} {namespace}/{name}"
