"""Rules, their findings, and the registry of all rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from knative.lint.manifest import Manifest
    from knative.lint.manifest import Path as FieldPath
    from knative.lint.tree import Tree

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")  # the worst first


@dataclass(frozen=True)
class Violation:
    """A field of an object that violates a rule."""

    manifest: Manifest
    path: FieldPath
    message: str


Check = Callable[["Tree"], Iterator[Violation]]


@dataclass(frozen=True)
class Rule:
    """`why` is the behaviour of Knative that the rule is based on, `fix` what to write instead."""

    id: str
    severity: Severity
    title: str
    why: str
    fix: str
    check: Check


@dataclass(frozen=True, order=True)
class Finding:
    """One finding at one place. `line` counts from 1; None for a generated object."""

    file: Path
    line: int | None
    rule: str
    severity: Severity
    object: str
    field: str
    message: str
    why: str
    fix: str

    @property
    def place(self) -> tuple[str, int, str]:
        """The sort key."""
        return str(self.file), self.line or 0, self.rule


RULES: dict[str, Rule] = {}


def rule(
    id_: str, severity: Severity, title: str, *, why: str, fix: str
) -> Callable[[Check], Check]:
    """Register a function from a Tree to its violations as rule `id_`."""

    def register(check: Check) -> Check:
        if id_ in RULES:
            raise ValueError(f"{id_} is {RULES[id_].title!r} already")
        RULES[id_] = Rule(id_, severity, title, why, fix, check)
        return check

    return register
