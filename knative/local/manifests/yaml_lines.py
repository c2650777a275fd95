"""YAML files as documents that remember the line of every field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from knative.local.manifests.problems import ManifestError, Problem

FieldPath = tuple[str | int, ...]


# A document of a cluster has thousands; aliases of aliases make millions of a few lines.
_MAX_FIELDS = 500_000
_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where PyYAML has it
_TAG = "tag:yaml.org,2002:"
_CONSTRUCTED = {_TAG + name for name in ("null", "bool", "int", "float")}
_VALUES = yaml.constructor.SafeConstructor()


@dataclass
class Document:
    """One YAML document: its body, its file, and on which line each field stands.

    `text` is all of the file, where that cannot be read again.
    """

    file: Path
    line: int
    body: Any
    lines: dict[FieldPath, int] = field(default_factory=dict)
    text: str | None = None

    def line_of(self, path: FieldPath) -> int:
        """The line of `path`, or of the nearest field above it that the file has."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return self.line


def read_documents(file: Path) -> list[Document]:
    """The non-empty documents of `file`; raises ManifestError with file and line."""
    return parse_documents(as_text(read_bytes(file), file), file)


def read_bytes(file: Path) -> bytes:
    """What `file` holds; raises ManifestError where it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise ManifestError([Problem(file, None, "", "", error.strerror or str(error))]) from None


def as_text(data: bytes, file: Path) -> str:
    """The text of a file; raises ManifestError where it is not UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ManifestError([Problem(file, None, "", "", "is not UTF-8")]) from None


def parse_documents(text: str, file: Path, first_line: int = 1) -> list[Document]:
    """Like `read_documents`, of a text that stands in `file` from `first_line` on."""
    documents = []
    try:
        events = yaml.parse(text, Loader=_PARSER)
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                document = _Composer(events, first_line).document(file)
                if document.body is not None:
                    documents.append(document)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        broken = mark.line + first_line if mark else None
        message = error.problem or error.context or "not YAML"
        raise ManifestError([Problem(file, broken, "", "", f"broken YAML: {message}")]) from None
    except yaml.YAMLError as error:
        raise ManifestError([Problem(file, None, "", "", f"broken YAML: {error}")]) from None
    except RecursionError:
        raise ManifestError(
            [Problem(file, None, "", "", "broken YAML: nested too deeply")]
        ) from None
    return documents


@dataclass
class _Anchored:
    """What an anchor names, with the lines of its fields by their paths below it."""

    value: Any
    lines: list[tuple[FieldPath, int]]


class _Composer:
    """Makes one document of libyaml's events, as Kubernetes reads it.

    Dates are text, no tag is looked at, and an anchor that is defined again counts from there on.
    """

    def __init__(self, events: Iterator[yaml.Event], first_line: int) -> None:
        self._events = events
        self._first_line = first_line
        self._lines: dict[FieldPath, int] = {}
        self._anchors: dict[str, _Anchored] = {}
        self._open: set[str] = set()  # anchors whose value is not complete

    def document(self, file: Path) -> Document:
        event = next(self._events)
        line = _line(event) + self._first_line
        return Document(file, line, self._value(event, ()), self._lines)

    def _value(self, event: yaml.Event, path: FieldPath) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._aliased(event, path)
        anchor = getattr(event, "anchor", None)
        before = len(self._lines)
        if anchor:
            self._open.add(anchor)
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(path)
        else:
            value = self._mapping(path)
        if anchor:
            self._open.discard(anchor)
            added = islice(self._lines.items(), before, None)
            lines = [(place[len(path) :], line) for place, line in added]
            self._anchors[anchor] = _Anchored(value, lines)
        return value

    def _item(self, event: yaml.Event, path: FieldPath) -> Any:
        """Like `_value`, at once for what most values are."""
        if isinstance(event, yaml.ScalarEvent) and not event.anchor:
            return _scalar(event)
        return self._value(event, path)

    def _aliased(self, event: yaml.AliasEvent, path: FieldPath) -> Any:
        if event.anchor in self._open:
            raise _fault("an alias that holds itself", event)
        if event.anchor not in self._anchors:
            raise _fault(f"found undefined alias {event.anchor!r}", event)
        anchored = self._anchors[event.anchor]
        for place, line in anchored.lines:
            self._place((*path, *place), line - self._first_line, event)
        return anchored.value

    def _sequence(self, path: FieldPath) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            here = (*path, len(items))
            self._place(here, _line(event), event)
            items.append(self._item(event, here))
        return items

    def _mapping(self, path: FieldPath) -> dict[Any, Any]:
        fields: dict[Any, Any] = {}
        merged: list[Any] = []
        seen: set[str] = set()
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if isinstance(event, yaml.AliasEvent):
                key = text = self._aliased(event, path)
            elif isinstance(event, yaml.ScalarEvent):
                key, text = _scalar(event), event.value
                if event.anchor:
                    self._anchors[event.anchor] = _Anchored(key, [])
            else:
                key = text = None
            if text is None or isinstance(text, dict | list):
                raise _fault("the name of a field must be text", event)
            text = str(text)
            if text in seen:
                raise _fault(f"the field {text!r} is written twice", event)
            seen.add(text)
            here = (*path, text)
            self._place(here, _line(event), event)
            value = self._item(next(self._events), here)
            if text == "<<" and getattr(event, "implicit", (False,))[0]:
                merged += value if isinstance(value, list) else [value]
                if not all(isinstance(one, dict) for one in merged):
                    raise _fault("expected a mapping or list of mappings for merging", event)
            else:
                fields[key] = value
        for one in merged:
            fields = {**one, **fields}
        return fields

    def _place(self, path: FieldPath, line: int, event: yaml.Event) -> None:
        self._lines[path] = line + self._first_line
        if len(self._lines) > _MAX_FIELDS:
            message = f"more than {_MAX_FIELDS} fields, its aliases written out"
            raise _fault(message, event)


def _line(event: yaml.Event) -> int:
    mark: Any = event.start_mark
    return int(mark.line)


def _fault(message: str, event: yaml.Event) -> yaml.MarkedYAMLError:
    mark: Any = event.start_mark
    return yaml.MarkedYAMLError(problem=message, problem_mark=mark)


def _scalar(event: yaml.ScalarEvent) -> Any:
    if event.tag in (None, "!"):
        return _plain(event.value) if event.implicit[0] else event.value
    if not event.tag.startswith(_TAG):
        return event.value
    return _constructed(event.tag, event.value)


@lru_cache(65_536)
def _plain(text: str) -> Any:
    """The value of a scalar without quotes."""
    resolvers = yaml.SafeLoader.yaml_implicit_resolvers
    for tag, pattern in (*resolvers.get(text[:1], ()), *resolvers.get(None, ())):
        if pattern.match(text):
            return _constructed(tag, text)
    return text


def _constructed(tag: str, text: str) -> Any:
    if tag not in _CONSTRUCTED:
        return text
    try:
        return yaml.SafeLoader.yaml_constructors[tag](_VALUES, yaml.ScalarNode(tag, text))
    except (yaml.constructor.ConstructorError, ValueError, KeyError):
        return text
