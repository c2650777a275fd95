"""Reading the fields of an object as it is written, whatever its shape, and what all kinds need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from knative.local.manifests.yaml_lines import FieldPath

Fault = tuple[FieldPath, str]
Body = Mapping[str, Any]

POD: FieldPath = ("spec", "template", "spec")


def value_at(value: Any, *path: str | int) -> Any:
    """What stands at `path` in an object, whatever its shape; None where there is nothing."""
    for part in path:
        if isinstance(value, dict | Mapping):  # a dict at once: the ABC is slow to ask
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return None
    return value


def mapping_at(body: Body, *path: str | int) -> Mapping[Any, Any]:
    value = value_at(body, *path)
    return value if isinstance(value, Mapping) else {}


def items_at(body: Body, *path: str | int) -> list[Any]:
    value = value_at(body, *path)
    return value if isinstance(value, list) else []


def missing(body: Body, path: FieldPath, *names: str) -> Iterator[Fault]:
    for name in names:
        if not value_at(body, *path, name):
            yield path, f"{name} is missing"


def destination(body: Body, path: FieldPath) -> Iterator[Fault]:
    if not value_at(body, *path, "ref") and not value_at(body, *path, "uri"):
        yield path, "needs a ref or a uri"
    yield from ref(body, path)


def ref(body: Body, path: FieldPath) -> Iterator[Fault]:
    if value_at(body, *path, "ref"):
        yield from missing(body, (*path, "ref"), "apiVersion", "kind", "name")
