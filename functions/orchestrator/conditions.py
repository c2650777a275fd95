"""The language of `when`: JMESPath over {"payload": ..., "results": {step: result}}.

A condition holds where its value is a truth as JMESPath has it: not false, null or empty.
The library raises whatever its own code raises: a slice without a pace, text that is nested too
deeply. So all of it is caught here, and becomes words.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jmespath
from jmespath.parser import ParsedResult

from functions.kit.errors import shortened


class Unevaluable(ValueError):
    """A condition says nothing about these facts: neither that it holds nor that it does not."""


def flaw_of(text: str) -> str | None:
    """What is wrong with a condition's text, in words; None when nothing is."""
    try:
        _compiled(text)
    except Exception as error:
        return f"is no JMESPath: {_in_words(error)}"
    return None


def holds(text: str, facts: dict[str, Any]) -> bool:
    """Does a condition hold? Raises `Unevaluable` where these facts cannot tell.

    >>> holds("payload.country == 'DE' && results.check.score > `5`",
    ...       {"payload": {"country": "DE"}, "results": {"check": {"score": 7}}})
    True
    >>> holds("payload.nothing", {"payload": {}, "results": {}})
    False
    >>> holds("payload[::0]", {"payload": [1], "results": {}})
    Traceback (most recent call last):
    functions.orchestrator.conditions.Unevaluable: slice step cannot be zero
    """
    try:
        value = _compiled(text).search(facts)
        return value is not None and value is not False and value not in ("", [], {})
    except Exception as error:
        raise Unevaluable(_in_words(error)) from error


def _in_words(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return shortened(str(error) or type(error).__name__)


@lru_cache(maxsize=1024)
def _compiled(text: str) -> ParsedResult:
    return jmespath.compile(text)
