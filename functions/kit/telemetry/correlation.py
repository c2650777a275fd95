"""Correlation, causation and trace context: from a request to the events and calls it causes.

Events carry them as CloudEvents extensions. Calls between services carry the same as W3C headers:
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
MAX_BAGGAGE = 8192  # the size that W3C asks each service to pass on, bytes
MAX_CHARACTERS = 255
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

# W3C asks each service to pass on so many characters; others fit no header.
_TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}")

_NONE: Mapping[str, str] = MappingProxyType({})
_current: ContextVar[Mapping[str, str]] = ContextVar("correlation", default=_NONE)


class correlated:  # noqa: N801  # used as a function; a generator's context costs several times as much
    """Events and calls made inside are caused by `given`: an event, or a call's headers."""

    __slots__ = ("_given", "_token")

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given
        self._token: Token[Mapping[str, str]] | None = None

    def __enter__(self) -> None:
        self._token = _current.set(self._given)

    def __exit__(self, *error: object) -> None:
        assert self._token is not None
        _current.reset(self._token)


def of_event(message: cloudevents.Message) -> dict[str, str]:
    """What an event's effects inherit: its trace, its correlation, and itself as causation.

    A trace that no header can hold is left out: it would fail every call that the event causes.
    """
    given = message.extensions
    found = _trace_of(given)
    found["correlationid"] = given.get("correlationid", message.id)
    found["causationid"] = message.id
    return found


def _trace_of(given: Mapping[str, str]) -> dict[str, str]:
    if not _TRACEPARENT.fullmatch(given.get("traceparent", "")):
        return {}
    found = {"traceparent": given["traceparent"]}
    if _TRACESTATE.fullmatch(given.get("tracestate", "")):
        found["tracestate"] = given["tracestate"]
    return found


def of_call(headers: cloudevents.Headers) -> dict[str, str]:
    """The same of a call's headers; what cannot be kept is left out.

    >>> of_call([(b"baggage", b"correlationid=a%20b, other=1;p=2"), (b"host", b"h")])
    {'correlationid': 'a b'}
    """
    found: dict[str, str] = {}
    contexts: dict[str, str] = {}
    for name, raw in headers:
        if name in (b"traceparent", b"tracestate"):
            contexts[name.decode()] = raw.decode("latin-1")
        elif name == b"baggage":
            for member in raw[:MAX_BAGGAGE].decode("latin-1").split(","):
                key, _, value = member.partition(";")[0].partition("=")
                text = unquote(value.strip())
                if key.strip() in WHY and 0 < len(text) <= MAX_CHARACTERS and text.isprintable():
                    found[key.strip()] = text
    return found | _trace_of(contexts)


def extensions() -> dict[str, str]:
    """The extensions of an event that is made now."""
    given = _current.get()
    why = {name: given[name] for name in WHY if name in given}
    return {**trace.carried(given), **why}


def headers() -> dict[str, str]:
    """The headers of a call that is made now."""
    given = _current.get()
    found = {name: given[name] for name in trace.CONTEXT if name in given}
    members = [f"{name}={quote(given[name], safe='')}" for name in WHY if name in given]
    return found | ({"baggage": ",".join(members)} if members else {})


class CorrelationMiddleware:
    """An ASGI application whose requests carry on the correlation of their headers."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        given = of_call(scope["headers"]) if scope["type"] == "http" else _NONE
        with correlated(given), log.handling(correlation_id=given.get("correlationid", "")):
            await self._app(scope, receive, send)
