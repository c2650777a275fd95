"""One object on its way through kustomize."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from knative.local.manifests.problems import Problem
from knative.local.manifests.yaml_lines import Document, FieldPath


@dataclass
class Resource:
    """One object, with the document that it came from for the sake of error messages."""

    body: dict[str, Any]
    source: Document
    hashed: bool = False  # a generated name that gets its content hash at the end
    generated: bool = field(default=False)

    @property
    def kind(self) -> str:
        return str(self.body.get("kind"))

    @property
    def name(self) -> str:
        return str(self.metadata.get("name"))

    @property
    def metadata(self) -> dict[str, Any]:
        metadata = self.body.get("metadata")
        return metadata if isinstance(metadata, dict) else {}

    @property
    def identity(self) -> tuple[str, str, str, str]:
        group = str(self.body.get("apiVersion", "")).rpartition("/")[0]
        return group, self.kind, str(self.metadata.get("namespace", "")), self.name

    def problem(self, path: FieldPath, message: str) -> Problem:
        line = None if self.generated else self.source.line_of(path)
        dotted = ".".join(str(part) for part in path)
        return Problem(self.source.file, line, f"{self.kind} {self.name}", dotted, message)


def expanded(resource: Resource) -> Iterator[Resource]:
    """The object itself, or what a `kind: List` holds, each with the lines of its own fields."""
    items = resource.body.get("items")
    if resource.kind != "List" or not isinstance(items, list):
        yield resource
        return
    for number, item in enumerate(items):
        if isinstance(item, dict) and "kind" in item:
            source = copy.copy(resource.source)
            top = ("items", number)
            source.line = resource.source.line_of(top)
            source.lines = {p[2:]: n for p, n in resource.source.lines.items() if p[:2] == top}
            yield Resource(item, source)
