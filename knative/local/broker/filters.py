"""Trigger filters as predicates over an event's attributes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from knative.local.broker import cesql

Attributes = Mapping[str, str]
Predicate = Callable[[Attributes], bool]

_NAME = re.compile(r"[a-z][a-z0-9]*")


def compile_filters(
    attributes: Mapping[str, str] | None, filters: Sequence[Mapping[str, Any]] | None
) -> Predicate:
    """One predicate from `spec.filter.attributes` and `spec.filters`.

    `filters`, unless empty, takes precedence. Raises ValueError naming the field.
    """
    if filters:
        return _all([compile_filter(f, f"filters[{i}]") for i, f in enumerate(filters)])
    wanted = tuple((attributes or {}).items())
    for name, value in wanted:
        _check_pair(name, value, "filter.attributes")

    def matches(event: Attributes) -> bool:
        for name, value in wanted:
            found = event.get(name)
            if found != value if value else not found:
                return False
        return True

    return matches


def compile_filter(raw: Any, where: str) -> Predicate:
    """A predicate from one of `spec.filters`; ValueError naming the field, which is at `where`."""
    if not isinstance(raw, Mapping) or len(raw) != 1:
        raise ValueError(f"{where} must be an object with exactly one dialect, not {raw!r}")
    ((dialect, body),) = raw.items()
    where = f"{where}.{dialect}"
    if dialect in ("all", "any"):
        if not isinstance(body, Sequence) or isinstance(body, str):
            raise ValueError(f"{where} must be a list of filters")
        parts = [compile_filter(part, f"{where}[{i}]") for i, part in enumerate(body)]
        return _all(parts) if dialect == "all" else _any(parts)
    if dialect == "not":
        inner = compile_filter(body, where)
        return lambda event: not inner(event)
    if dialect == "cesql":
        return _cesql(body, where)
    if dialect in _TESTS:
        return _text_test(_TESTS[dialect], body, where)
    known = ", ".join(("all", "any", "not", "cesql", *_TESTS))
    raise ValueError(f"{where} is an unknown dialect; known are {known}")


def _all(parts: Sequence[Predicate]) -> Predicate:
    if len(parts) == 1:
        return parts[0]
    return lambda event: all(part(event) for part in parts)


def _any(parts: Sequence[Predicate]) -> Predicate:
    return lambda event: any(part(event) for part in parts)


_TESTS: dict[str, Callable[[str, str], bool]] = {
    "exact": str.__eq__,
    "prefix": str.startswith,
    "suffix": str.endswith,
}


def _text_test(test: Callable[[str, str], bool], body: Any, where: str) -> Predicate:
    if not isinstance(body, Mapping):
        raise ValueError(f"{where} must map attribute names to text")
    for name, value in body.items():
        _check_pair(name, value, where)
    # Knative skips a test of an empty text: it matches everything.
    wanted = tuple((name, value) for name, value in body.items() if value)
    return lambda event: all(
        (found := event.get(name)) is not None and test(found, value) for name, value in wanted
    )


def _cesql(body: Any, where: str) -> Predicate:
    if not isinstance(body, str):
        raise ValueError(f"{where} must be an expression in text")
    try:
        evaluate = cesql.compile_expression(body)
    except cesql.ExpressionError as error:
        raise ValueError(f"{where}: {error}") from error

    def matches(event: Attributes) -> bool:
        try:
            return evaluate(event) is True
        except (cesql.EvaluationError, RecursionError):
            return False  # also for a reference to a missing attribute

    return matches


def _check_pair(name: Any, value: Any, where: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"{where}: attribute name {name!r} must be lower-case letters and digits, letter first"
        )
    if not isinstance(value, str):
        raise ValueError(f"{where}.{name} must be text, not {value!r}; quote it")
