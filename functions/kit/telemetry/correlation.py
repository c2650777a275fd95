"""On whose behalf work is done: what a cause hands on to the events and calls that it leads to.

Events carry it as CloudEvents extensions. Calls between services carry the same as W3C headers:
the trace as `traceparent`, correlation and causation as members of `baggage`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, unquote

from functions.kit import cloudevents
from functions.kit.telemetry import log, trace

WHY = ("correlationid", "causationid")
MOST_BAGGAGE = 8192  # what W3C asks everybody to pass on, bytes
MOST_CHARACTERS = 255
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

_NOBODY: Mapping[str, str] = MappingProxyType({})
_acting: ContextVar[Mapping[str, str]] = ContextVar("acting", default=_NOBODY)


class acting:  # noqa: N801  # used as a function; a generator's context costs several times as much
    """Work inside is done on behalf of `given`: of an event, or of a call's headers."""

    __slots__ = ("_given", "_token")

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given
        self._token: Token[Mapping[str, str]] | None = None

    def __enter__(self) -> None:
        self._token = _acting.set(self._given)

    def __exit__(self, *error: object) -> None:
        assert self._token is not None
        _acting.reset(self._token)


def of_event(message: cloudevents.Message) -> dict[str, str]:
    """What an event hands on: its trace, its correlation, and itself as the cause."""
    said = message.extensions
    found = {name: said[name] for name in trace.CARRIED if name in said}
    found["correlationid"] = said.get("correlationid", message.id)
    found["causationid"] = message.id
    return found


def of_call(headers: cloudevents.Headers) -> dict[str, str]:
    """What the headers of a call hand on; what cannot be kept is left out.

    >>> of_call([(b"baggage", b"correlationid=a%20b, other=1;p=2"), (b"host", b"h")])
    {'correlationid': 'a b'}
    """
    found: dict[str, str] = {}
    for name, raw in headers:
        if name == b"traceparent" and _TRACEPARENT.fullmatch(text := raw.decode("latin-1")):
            found["traceparent"] = text
        elif name == b"tracestate":
            found["tracestate"] = raw.decode("latin-1")
        elif name == b"baggage":
            for member in raw[:MOST_BAGGAGE].decode("latin-1").split(","):
                key, _, value = member.partition(";")[0].partition("=")
                said = unquote(value.strip())
                if key.strip() in WHY and 0 < len(said) <= MOST_CHARACTERS and said.isprintable():
                    found[key.strip()] = said
    if "traceparent" not in found:
        found.pop("tracestate", None)
    return found


def handed_on() -> dict[str, str]:
    """The extensions of an event that is made now."""
    given = _acting.get()
    why = {name: given[name] for name in WHY if name in given}
    return {**trace.carried(given), **why}


def headers() -> dict[str, str]:
    """The headers of a call that is made now."""
    given = _acting.get()
    found = {name: given[name] for name in trace.CARRIED if name in given}
    members = [f"{name}={quote(given[name], safe='')}" for name in WHY if name in given]
    return found | ({"baggage": ",".join(members)} if members else {})


class OnBehalf:
    """An ASGI application whose requests are done on behalf of whom their headers name."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        given = of_call(scope["headers"]) if scope["type"] == "http" else _NOBODY
        with acting(given), log.handling(correlation_id=given.get("correlationid", "")):
            await self._app(scope, receive, send)
