"""YAML with the line of each path in it."""

from __future__ import annotations

from typing import Any

import yaml

Lines = dict[tuple[str | int, ...], int]


class BadYaml(ValueError):
    """Invalid YAML; `line` counts from 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


def load(text: str) -> tuple[Any, Lines]:
    """Return the document and its lines; `BadYaml` for a syntax error or a duplicate key."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: Lines = {}
        if node is None:
            return None, lines
        _walk(node, (), lines)
        return yaml.safe_load(text), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise BadYaml(mark.line + 1 if mark else 1, error.problem or "invalid YAML") from None
    except yaml.YAMLError as error:
        raise BadYaml(1, str(error)) from None


def text_in(manifest: str, kind: str, name: str) -> tuple[str, int] | None:
    """Return the text under `data.name` of the object of this kind, and the lines above it."""
    try:
        documents = list(yaml.compose_all(manifest, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise BadYaml(1, str(error)) from None
    for document in documents:
        fields = _fields(document)
        text = _fields(fields.get("data")).get(name)
        if getattr(fields.get("kind"), "value", None) == kind and isinstance(text, yaml.ScalarNode):
            # The text of a block begins below its `|`.
            return text.value, text.start_mark.line + (text.style in ("|", ">"))
    return None


def _fields(node: yaml.Node | None) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {key.value: value for key, value in node.value if isinstance(key.value, str)}


def line_of(lines: Lines, path: tuple[str | int, ...]) -> int:
    """Return the line of a path, or of its nearest parent.

    >>> line_of({(): 1, ("routes",): 2}, ("routes", 0, "name"))
    2
    """
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _walk(node: yaml.Node, path: tuple[str | int, ...], lines: Lines) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise BadYaml(key.start_mark.line + 1, f"duplicate key {key.value}")
            seen.add(key.value)
            lines[(*path, key.value)] = key.start_mark.line + 1
            _walk(value, (*path, key.value), lines)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            _walk(value, (*path, number), lines)
