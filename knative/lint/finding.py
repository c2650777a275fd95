"""What a rule is, what it finds, and the list of all rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from knative.lint.thing import Path as FieldPath
    from knative.lint.thing import Thing
    from knative.lint.tree import Tree

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")  # the worst first


@dataclass(frozen=True)
class Found:
    """What a rule says: this field of this object, in words about this very case."""

    thing: Thing
    path: FieldPath
    message: str


Check = Callable[["Tree"], Iterator[Found]]


@dataclass(frozen=True)
class Rule:
    """`why` is the behaviour of Knative behind it, `fix` what to write instead."""

    id: str
    severity: Severity
    title: str
    why: str
    fix: str
    check: Check


@dataclass(frozen=True, order=True)
class Finding:
    """One finding at one place. `line` counts from 1; None for what no file holds."""

    file: Path
    line: int | None
    rule: str
    severity: Severity
    thing: str
    field: str
    message: str
    why: str
    fix: str

    @property
    def place(self) -> tuple[str, int, str]:
        """What findings are sorted by."""
        return str(self.file), self.line or 0, self.rule


RULES: dict[str, Rule] = {}


def rule(
    id_: str, severity: Severity, title: str, *, why: str, fix: str
) -> Callable[[Check], Check]:
    """Register a function from a Tree to what it finds as rule `id_`."""

    def register(check: Check) -> Check:
        if id_ in RULES:
            raise ValueError(f"{id_} is {RULES[id_].title!r} already")
        RULES[id_] = Rule(id_, severity, title, why, fix, check)
        return check

    return register
