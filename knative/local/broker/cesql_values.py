"""CESQL's values, its casts and its built-in functions."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

Value = bool | int | str

INTEGER_MAX = 2**31 - 1
_INTEGER = re.compile(r"[+-]?[0-9]+")
_BLANK = " \t\n\v\f\r\x85\xa0"


class EvaluationError(Exception):
    """An expression has no value for this event: a failed cast, a missing attribute, ..."""


def to_bool(value: Value) -> bool:
    if isinstance(value, str):
        try:
            return {"true": True, "false": False}[value.lower()]
        except KeyError:
            raise EvaluationError(f"{value!r} is no boolean") from None
    return bool(value)


def to_int(value: Value) -> int:
    if isinstance(value, str):
        number = int(value) if _INTEGER.fullmatch(value) and len(value) <= 12 else None
        if number is None or not -INTEGER_MAX - 1 <= number <= INTEGER_MAX:
            raise EvaluationError(f"{value!r} is no 32 bit integer")
        return number
    return int(value)


def to_str(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def cast(value: Value, target: type[Value]) -> Value:
    if target is bool:
        return to_bool(value)
    return to_int(value) if target is int else to_str(value)


def _is(target: type[Value]) -> Callable[[Value], Value]:
    def castable(value: Value) -> bool:
        try:
            cast(value, target)
        except EvaluationError:
            return False
        return True

    return castable


def _count(n: int) -> int:
    if n < 0:
        raise EvaluationError(f"{n} is below zero")
    return n


def _left(x: str, n: int) -> str:
    return x[: _count(n)]


def _right(x: str, n: int) -> str:
    return x[max(0, len(x) - _count(n)) :]


def _substring(x: str, position: int, length: int | None = None) -> str:
    """Positions count from 1, negative ones from the end; 0 gives the empty text."""
    if abs(position) > len(x):
        raise EvaluationError(f"position {position} is outside of a text of {len(x)}")
    if length is not None:
        _count(length)
    if position == 0:
        return ""
    start = position - 1 if position > 0 else len(x) + position
    return x[start:] if length is None else x[start : start + length]


@dataclass(frozen=True)
class _Function:
    """A built-in: casts its arguments to `parameters`; the last one repeats when variadic."""

    body: Callable[..., Value]
    parameters: tuple[Callable[[Value], Value], ...]
    minimum: int

    def __call__(self, arguments: list[Value]) -> Value:
        last = len(self.parameters) - 1
        return self.body(*(self.parameters[min(i, last)](a) for i, a in enumerate(arguments)))


def _any(value: Value) -> Value:
    return value


def _fixed(
    body: Callable[..., Value], *parameters: Callable[[Value], Value]
) -> tuple[int, _Function]:
    return len(parameters), _Function(body, parameters, len(parameters))


# By name and number of arguments; None stands for "any number".
FUNCTIONS: dict[tuple[str, int | None], _Function] = {
    (name, arity): function
    for name, (arity, function) in (
        ("LENGTH", _fixed(len, to_str)),
        ("LOWER", _fixed(str.lower, to_str)),
        ("UPPER", _fixed(str.upper, to_str)),
        ("TRIM", _fixed(lambda x: x.strip(_BLANK), to_str)),
        ("LEFT", _fixed(_left, to_str, to_int)),
        ("RIGHT", _fixed(_right, to_str, to_int)),
        ("SUBSTRING", _fixed(_substring, to_str, to_int)),
        ("SUBSTRING", _fixed(_substring, to_str, to_int, to_int)),
        ("ABS", _fixed(lambda x: min(abs(x), INTEGER_MAX), to_int)),
        ("INT", _fixed(to_int, _any)),
        ("BOOL", _fixed(to_bool, _any)),
        ("STRING", _fixed(to_str, _any)),
        ("IS_INT", _fixed(_is(int), _any)),
        ("IS_BOOL", _fixed(_is(bool), _any)),
    )
} | {
    ("CONCAT", None): _Function(lambda *xs: "".join(xs), (to_str,), 0),
    ("CONCAT_WS", None): _Function(lambda by, *xs: by.join(xs), (to_str,), 1),
}
