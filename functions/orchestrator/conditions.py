"""The language of `when`: JMESPath over {"payload": ..., "results": {step: result}}.

A condition holds where its value is a truth as JMESPath has it: not false, null or empty.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult


def flaw_of(text: str) -> str | None:
    """What is wrong with a condition's text, in words; None when nothing is."""
    try:
        _compiled(text)
    except JMESPathError as error:
        return f"is no JMESPath: {' '.join(str(error).split())}"
    return None


def holds(text: str, facts: dict[str, Any]) -> bool:
    """Does a condition hold? One that cannot be evaluated over these facts does not.

    >>> holds("payload.country == 'DE' && results.check.score > `5`",
    ...       {"payload": {"country": "DE"}, "results": {"check": {"score": 7}}})
    True
    >>> holds("payload.nothing", {"payload": {}, "results": {}})
    False
    """
    try:
        value = _compiled(text).search(facts)
    except JMESPathError:
        return False
    return value is not None and value is not False and value not in ("", [], {})


@lru_cache(maxsize=1024)
def _compiled(text: str) -> ParsedResult:
    return jmespath.compile(text)
