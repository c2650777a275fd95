"""The language of `when`: JMESPath over {"payload": ..., "results": {step: result}}.

A condition holds where its value is true in JMESPath: not false, null or empty. The library does
not document what it raises, so every exception is caught. The author of a condition is not trusted:
a budget limits its cost; it is counted and not timed, so that a repeat costs the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathTypeError
from jmespath.functions import Functions
from jmespath.parser import ParsedResult
from jmespath.visitor import Options, TreeInterpreter

from functions.kit.errors import shortened

# Of all conditions of one decision: expressions visited, and values made or read. The most
# expensive ones take about 1 µs each.
MAX_COST = 50_000
_CHARACTERS_PER_UNIT = 100  # text is copied and compared faster than values are
_FOLLOW_ALL_PARTS = frozenset({"contains", "join", "to_string"})
_MAKE_A_VALUE = frozenset(
    {
        "filter_projection",
        "flatten",
        "function_expression",
        "multi_select_dict",
        "multi_select_list",
        "projection",
        "slice",
        "value_projection",
    }
)


class Unevaluable(ValueError):
    """A condition cannot be evaluated with these values."""


class _TooExpensive(Exception):
    """The budget is spent."""


def flaw_of(text: str) -> str | None:
    """Return the error of a condition's text; None when it is valid."""
    try:
        _compiled(text)
    except Exception as error:
        return f"is no JMESPath: {_error_text(error)}"
    return None


class Conditions:
    """Evaluates the conditions of one decision, all of them within one budget."""

    def __init__(self, max_cost: int = MAX_COST) -> None:
        self._left = self._max = max_cost

    def holds(self, text: str, facts: dict[str, Any]) -> bool:
        """Does a condition hold? `Unevaluable` where it fails with these values.

        >>> Conditions().holds("payload.country == 'DE' && results.check.score > `5`",
        ...                    {"payload": {"country": "DE"}, "results": {"check": {"score": 7}}})
        True
        >>> Conditions().holds("payload.nothing", {"payload": {}, "results": {}})
        False
        >>> Conditions().holds("payload[::0]", {"payload": [1], "results": {}})
        Traceback (most recent call last):
        functions.orchestrator.conditions.Unevaluable: slice step cannot be zero
        """
        try:
            value = _Interpreter(self).visit(_compiled(text).parsed, facts)
            return value is not None and value is not False and value not in ("", [], {})
        except _TooExpensive:
            message = (
                f"it costs more than {self._max} evaluations: make it, or the payload, smaller"
            )
            raise Unevaluable(message) from None
        except Exception as error:
            raise Unevaluable(_error_text(error)) from error

    def spend(self, cost: int) -> None:
        self._left -= cost
        if self._left < 0:
            raise _TooExpensive

    def read(self, value: Any) -> None:
        """Spend a unit for each part of a value, as often as it is referenced."""
        waiting = [value]
        while waiting:
            part = waiting.pop()
            self.spend(_width(part))
            if isinstance(part, dict):
                waiting.extend(part.values())
            elif isinstance(part, list):
                waiting.extend(part)


class _Interpreter(TreeInterpreter):
    """Spends before it evaluates: one flattening may make a billion items of two thousand."""

    def __init__(self, budget: Conditions) -> None:
        super().__init__(Options(custom_functions=_Functions(budget)))
        self._budget = budget

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        self._budget.spend(1)
        value = super().visit(node, *args, **kwargs)
        if node["type"] in _MAKE_A_VALUE:
            self._budget.spend(_width(value))
        return value

    def visit_comparator(self, node: Any, value: Any) -> Any:
        sides = [self.visit(child, value) for child in node["children"]]
        if node["value"] in ("eq", "ne") and not any(map(_is_scalar, sides)):
            self._budget.read(sides[0])
        return super().visit_comparator(_with(node, sides), value)

    def visit_flatten(self, node: Any, value: Any) -> Any:
        base = self.visit(node["children"][0], value)
        if isinstance(base, list):
            self._budget.spend(sum(map(_width, base)))
        return super().visit_flatten(_with(node, [base]), value)


def _with(node: Any, values: Sequence[Any]) -> Any:
    """Return a node whose children are these values, so that none is visited twice."""
    children = [{"type": "literal", "value": value, "children": []} for value in values]
    return {**node, "children": children}


class _Functions(Functions):
    def __init__(self, budget: Conditions) -> None:
        self._budget = budget

    def call_function(self, function_name: str, resolved_args: Iterable[Any]) -> Any:
        arguments = list(resolved_args)
        for argument in arguments:
            if function_name in _FOLLOW_ALL_PARTS:
                self._budget.read(argument)
            else:
                self._budget.spend(_width(argument))
        return super().call_function(function_name, arguments)


def _is_scalar(value: Any) -> bool:
    return not isinstance(value, list | dict | str)


def _width(value: Any) -> int:
    """Return the cost of reading a value without its parts."""
    if isinstance(value, list | dict):
        return 1 + len(value)
    return 1 + len(value) // _CHARACTERS_PER_UNIT if isinstance(value, str) else 1


def _error_text(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, JMESPathTypeError):
        # Its own text has the value, which may be small and yet huge when printed.
        expected = ", ".join(error.expected_types)
        return f"{error.function_name}() takes {expected} and was given {error.actual_type}"
    return shortened(str(error) or type(error).__name__)


@lru_cache(maxsize=1024)
def _compiled(text: str) -> ParsedResult:
    return jmespath.compile(text)
