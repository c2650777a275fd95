"""The atoms of a filter: its attributes, and the values that it compares them with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lark import Lark, Token, Tree

from knative.local.broker import cesql as language

_PARSER = Lark(
    Path(language.__file__).with_name("cesql.lark").read_text(encoding="utf-8"),
    parser="lalr",
    start="expression",
    maybe_placeholders=True,
)
# A value of no real event: it represents every text that no filter compares with.
OTHER = "\x00other\x00"


@dataclass
class AttributeAtoms:
    """What a filter compares one attribute with."""

    values: set[str] = field(default_factory=set)
    # Compared as numbers, each with its neighbours.
    numbers: set[str] = field(default_factory=set)
    prefixes: set[str] = field(default_factory=set)
    suffixes: set[str] = field(default_factory=set)

    def candidates(self) -> set[str]:
        """Return one text of each equivalence class of these atoms."""
        ends = {p + OTHER + s for p in (*self.prefixes, "") for s in (*self.suffixes, "")}
        return self.values | self.numbers | self.prefixes | self.suffixes | ends

    @property
    def mixed(self) -> bool:
        """Is it compared as a number and as a text? Then the candidates are incomplete."""
        return bool(self.numbers and (self.values or self.prefixes or self.suffixes))


@dataclass
class FilterAtoms:
    """The atoms of one or more filters. `inexact`: some of their tests have no candidates."""

    by_attribute: dict[str, AttributeAtoms] = field(default_factory=dict)
    inexact: bool = False

    def of(self, name: str) -> AttributeAtoms:
        return self.by_attribute.setdefault(name, AttributeAtoms())

    @property
    def exact(self) -> bool:
        """Do the candidates cover every event?"""
        return not self.inexact and not any(atoms.mixed for atoms in self.by_attribute.values())

    def add(self, other: FilterAtoms) -> None:
        self.inexact |= other.inexact
        for name, atoms in other.by_attribute.items():
            own = self.of(name)
            own.values |= atoms.values
            own.numbers |= atoms.numbers
            own.prefixes |= atoms.prefixes
            own.suffixes |= atoms.suffixes


def filter_atoms(attributes: Mapping[str, str] | None, filters: list[Any] | None) -> FilterAtoms:
    """Return the atoms of valid `spec.filter.attributes` and `spec.filters`."""
    found = FilterAtoms()
    if filters:
        for item in filters:
            _read(item, found)
    else:
        for name, value in (attributes or {}).items():
            found.of(name).values |= {value} if value else set()
    return found


def _read(item: Mapping[str, Any], found: FilterAtoms) -> None:
    ((dialect, body),) = item.items()
    if dialect in ("all", "any"):
        for part in body:
            _read(part, found)
    elif dialect == "not":
        _read(body, found)
    elif dialect == "cesql":
        _expression(parse(body), found)
    else:
        for name, value in body.items():
            atoms = found.of(name)
            texts = {"exact": atoms.values, "prefix": atoms.prefixes, "suffix": atoms.suffixes}
            texts[dialect].update({value} if value else ())


def parse(text: str) -> Tree[Token]:
    """Return the syntax tree of valid CESQL."""
    return _PARSER.parse(text)


def _expression(node: Tree[Token], found: FilterAtoms) -> None:
    parts = [part for part in node.children if isinstance(part, Tree)]
    for name in (_attribute(part) for part in parts):
        if name:
            found.of(name)
    if node.data in ("conjunction", "disjunction", "exclusive", "logical_not"):
        for part in parts:
            name = _attribute(part)
            if name:
                found.of(name).values |= {"true", "false"}
            else:
                _expression(part, found)
    elif node.data == "comparison":
        _comparison(node, found)
    elif node.data == "like":
        _like(node, found)
    elif node.data == "membership":
        name, *members = _attribute(parts[0]), *(_literal(part) for part in parts[1:])
        if name and None not in members:
            found.of(name).values |= {str(member) for member in members}
        else:
            _unknown(node, found)
    elif node.data == "exists":
        found.of(str(node.children[0]))
    elif node.data not in ("true", "false", "attribute"):
        _unknown(node, found)


def _comparison(node: Tree[Token], found: FilterAtoms) -> None:
    left, sign, right = node.children
    assert isinstance(left, Tree)
    assert isinstance(right, Tree)
    name, literal = _attribute(left), _literal(right)
    if name is None:
        name, literal = _attribute(right), _literal(left)
    if name is None or literal is None:
        _unknown(node, found)
    elif re.fullmatch(r"\d+", literal):
        found.of(name).numbers |= {str(int(literal) + step) for step in (-1, 0, 1)} | {literal}
    elif sign in ("=", "!=", "<>"):
        found.of(name).values.add(literal)
    else:
        _unknown(node, found)


def _like(node: Tree[Token], found: FilterAtoms) -> None:
    subject, _, literal = node.children
    assert isinstance(subject, Tree)
    name, pattern = _attribute(subject), str(literal)[1:-1]
    if name is None:
        _unknown(node, found)
        return
    atoms, wild = found.of(name), re.findall(r"(?<!\\)[%_]", pattern)
    if not wild:
        atoms.values.add(_plain(pattern))
    elif wild == ["%"] and pattern.endswith("%"):
        atoms.prefixes.add(_plain(pattern[:-1]))
    elif wild == ["%"] and pattern.startswith("%"):
        atoms.suffixes.add(_plain(pattern[1:]))
    else:
        atoms.values.add(pattern.replace("%", "").replace("_", "x"))
        found.inexact = True


def _plain(pattern: str) -> str:
    """Return what a pattern without wildcards matches."""
    return re.sub(r"\\([%_])", r"\1", pattern)


def _unknown(node: Tree[Token], found: FilterAtoms) -> None:
    """Add the attributes of a test that has no candidates."""
    found.inexact = True
    for name in attributes_of(node):
        found.of(name)


def attributes_of(node: Tree[Token]) -> Iterator[str]:
    """Return every attribute that an expression reads, EXISTS aside."""
    for part in node.iter_subtrees():
        if part.data == "attribute":
            yield str(part.children[0])


def _attribute(node: Tree[Token]) -> str | None:
    return str(node.children[0]) if node.data == "attribute" else None


def _literal(node: Tree[Token]) -> str | None:
    if node.data == "string":
        token = str(node.children[0])
        return token[1:-1].replace("\\" + token[0], token[0])
    if node.data == "integer":
        return str(node.children[0])
    return str(node.data) if node.data in ("true", "false") else None
