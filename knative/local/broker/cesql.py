"""CESQL, the CloudEvents SQL expression language, version 1.0, compiled to closures.

Source: the CloudEvents CESQL specification. We fail fast: the first error ends the evaluation,
because a Trigger filter takes any error as "no match".
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from typing import cast as cast_type

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedInput

from knative.local.broker.cesql_values import (
    FUNCTIONS,
    INTEGER_MAX,
    EvaluationError,
    Value,
    cast,
    to_bool,
    to_int,
    to_str,
)

__all__ = ["EvaluationError", "Expression", "ExpressionError", "compile_expression"]

Expression = Callable[[Mapping[str, str]], Value]

REQUIRED = frozenset({"id", "source", "type", "specversion"})


class ExpressionError(ValueError):
    """The expression is no CESQL; says where and why."""


def compile_expression(text: str) -> Expression:
    """Compile `text`; the result maps an event's attributes to a boolean, integer or string.

    Raises ExpressionError here, EvaluationError when called.
    """
    try:
        # The transformer runs while parsing: the result is no tree, but its last one.
        compiled = cast_type(Expression, _PARSER.parse(text))
    except UnexpectedInput as error:
        raise ExpressionError(f"not valid CESQL at character {error.column}: {text}") from error
    except ExpressionError as error:
        raise ExpressionError(f"not valid CESQL: {error}: {text}") from error
    return compiled


def _same(x: Value, y: Value) -> bool:
    """Equality casts the left value to the right one's type."""
    return cast(x, type(y)) == y


def _divide(x: int, y: int) -> int:
    if y == 0:
        raise EvaluationError("division by zero")
    quotient = abs(x) // abs(y)
    return quotient if (x < 0) == (y < 0) else -quotient


def _in_range(value: int) -> int:
    """Integers are of 32 bits and wrap around, as they do in Go."""
    return (value + INTEGER_MAX + 1) % (2 * (INTEGER_MAX + 1)) - INTEGER_MAX - 1


_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_COMPUTE: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "%": lambda x, y: x - y * _divide(x, y),
}


def _like_pattern(pattern: str) -> re.Pattern[str]:
    parts = re.findall(r"\\[%_]|.", pattern, re.DOTALL)
    wild = {"%": ".*", "_": ".", r"\%": "%", r"\_": "_"}
    return re.compile("".join(wild.get(p, re.escape(p)) for p in parts), re.DOTALL)


class _Compiler(Transformer[Token, Expression]):
    """Each method turns compiled parts into a compiled whole."""

    def attribute(self, children: list[Token]) -> Expression:
        name = _attribute_name(children[0])

        def read(event: Mapping[str, str]) -> Value:
            try:
                return event[name]
            except KeyError:
                raise EvaluationError(f"missing attribute {name}") from None

        return read

    def integer(self, children: list[Token]) -> Expression:
        digits = children[0].lstrip("0") or "0"
        # One more than the largest is allowed, for the most negative number.
        if len(digits) > 10 or int(digits) > INTEGER_MAX + 1:
            raise ExpressionError(f"{digits:.20} is beyond 32 bits")
        value = int(digits)
        return lambda _: value

    def true(self, _: Sequence[Token]) -> Expression:
        return lambda _: True

    def false(self, _: Sequence[Token]) -> Expression:
        return lambda _: False

    def string(self, children: list[Token]) -> Expression:
        value = _unquoted(children[0])
        return lambda _: value

    def exists(self, children: list[Token]) -> Expression:
        name = _attribute_name(children[0])
        return lambda event: name in event or name in REQUIRED

    def signed(self, children: list[Any]) -> Expression:
        sign, x = children
        if sign == "+":
            return lambda event: to_int(x(event))
        return lambda event: _in_range(-to_int(x(event)))

    def logical_not(self, children: list[Any]) -> Expression:
        _, x = children
        return lambda event: not to_bool(x(event))

    def conjunction(self, children: list[Any]) -> Expression:
        x, _, y = children
        return lambda event: to_bool(x(event)) and to_bool(y(event))

    def disjunction(self, children: list[Any]) -> Expression:
        x, _, y = children
        return lambda event: to_bool(x(event)) or to_bool(y(event))

    def exclusive(self, children: list[Any]) -> Expression:
        x, _, y = children
        return lambda event: to_bool(x(event)) != to_bool(y(event))

    def comparison(self, children: list[Any]) -> Expression:
        x, sign, y = children
        if sign == "=":
            return lambda event: _same(x(event), y(event))
        if sign in ("!=", "<>"):
            return lambda event: not _same(x(event), y(event))
        test = _COMPARE[sign]
        return lambda event: test(to_int(x(event)), to_int(y(event)))

    def arithmetic(self, children: list[Any]) -> Expression:
        x, sign, y = children
        compute = _COMPUTE[sign]
        return lambda event: _in_range(compute(to_int(x(event)), to_int(y(event))))

    def like(self, children: list[Any]) -> Expression:
        x, negation, literal = children
        pattern, wanted = _like_pattern(_unquoted(literal)), negation is None
        return lambda event: (pattern.fullmatch(to_str(x(event))) is not None) is wanted

    def membership(self, children: list[Any]) -> Expression:
        x, negation, *members = children
        wanted = negation is None

        def test(event: Mapping[str, str]) -> Value:
            value = x(event)
            return any(cast(y(event), type(value)) == value for y in members) is wanted

        return test

    def call(self, children: list[Any]) -> Expression:
        name, arguments = str(children[0]).upper(), children[1:]
        function = FUNCTIONS.get((name, len(arguments))) or FUNCTIONS.get((name, None))
        if function is None or len(arguments) < function.minimum:
            raise ExpressionError(f"there is no function {name} with {len(arguments)} arguments")
        return lambda event: function([argument(event) for argument in arguments])


def _attribute_name(token: Token) -> str:
    if not re.fullmatch("[a-z][a-z0-9]*", token):
        raise ExpressionError(f"{token} is no attribute name (lower-case letters and digits)")
    return str(token)


def _unquoted(token: Token) -> str:
    quote = token[0]
    return token[1:-1].replace("\\" + quote, quote)


_PARSER = Lark(
    Path(__file__).with_name("cesql.lark").read_text(),
    parser="lalr",
    transformer=_Compiler(),
    start="expression",
    maybe_placeholders=True,
)
