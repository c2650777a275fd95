"""YAML files as documents that remember the line of every field."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from knative.local.manifests.problems import ManifestError, Problem

FieldPath = tuple[str | int, ...]


# A document of a cluster has thousands; aliases of aliases make millions of a few lines.
_MOST_FIELDS = 500_000


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads dates as text and looks at no tag, as Kubernetes does."""


def _as_if_untagged(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return node.value


_Loader.add_constructor(None, _as_if_untagged)

_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


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
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ManifestError([Problem(file, None, "", "", error.strerror or str(error))]) from None
    except UnicodeDecodeError:
        raise ManifestError([Problem(file, None, "", "", "is not UTF-8")]) from None
    return parse_documents(text, file)


def parse_documents(text: str, file: Path, first_line: int = 1) -> list[Document]:
    """Like `read_documents`, of a text that stands in `file` from `first_line` on."""
    documents = []
    loader = None
    try:
        loader = _Loader(text)  # which looks for characters that YAML does not have
        while loader.check_node():
            node = loader.get_node()
            if node is None:
                continue
            line = node.start_mark.line + first_line
            document = Document(file, line, None)
            for path, at in _positions(node, (), (), file):
                document.lines[path] = at + first_line
                if len(document.lines) > _MOST_FIELDS:
                    words = f"more than {_MOST_FIELDS} fields, its aliases written out"
                    raise yaml.MarkedYAMLError(problem=words, problem_mark=node.start_mark)
            document.body = loader.construct_document(node)
            if document.body is not None:
                documents.append(document)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        broken = mark.line + first_line if mark else None
        words = error.problem or error.context or "not YAML"
        raise ManifestError([Problem(file, broken, "", "", f"broken YAML: {words}")]) from None
    except yaml.YAMLError as error:
        raise ManifestError([Problem(file, None, "", "", f"broken YAML: {error}")]) from None
    except RecursionError:
        raise ManifestError(
            [Problem(file, None, "", "", "broken YAML: nested too deeply")]
        ) from None
    finally:
        if loader is not None:
            loader.dispose()
    return documents


def _positions(
    node: yaml.Node, path: FieldPath, above: tuple[yaml.Node, ...], file: Path
) -> Iterator[tuple[FieldPath, int]]:
    if any(one is node for one in above):
        words = "an alias that holds itself"
        raise yaml.MarkedYAMLError(problem=words, problem_mark=node.start_mark)
    above = (*above, node)
    if isinstance(node, yaml.MappingNode):
        seen: set[Hashable] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                words = "the name of a field must be text"
                raise yaml.MarkedYAMLError(problem=words, problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the field {key.value!r} is written twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
            here = (*path, str(key.value))
            yield here, key.start_mark.line
            yield from _positions(value, here, above, file)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            here = (*path, number)
            yield here, value.start_mark.line
            yield from _positions(value, here, above, file)
