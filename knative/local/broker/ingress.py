"""What comes to a Broker: an event with its hops, or the answer that refuses it."""

from __future__ import annotations

from knative.local.broker.event import (
    TTL,
    Event,
    IncompleteError,
    NotAnEventError,
    UnreadableError,
    decode,
    validate,
)
from knative.local.broker.http import Answer, Headers

MAX_TTL = 255
REFUSED = (NotAnEventError, UnreadableError, IncompleteError)

_ALLOW = (b"Allow", b"POST, OPTIONS")
ANSWERS = {status: Answer(status, (_ALLOW,)) for status in (202, 400, 404, 405, 500, 503)}
OPTIONS = Answer(200, (_ALLOW, (b"WebHook-Allowed-Origin", b"*"), (b"WebHook-Allowed-Rate", b"*")))


def read(headers: Headers, body: bytes) -> tuple[Event, int]:
    """The event of a request, and how many hops it has left; one of `REFUSED` where it is none."""
    event = decode(headers, body)
    validate(event)
    try:
        ttl = int(event.attributes[TTL]) - 1
    except (KeyError, ValueError):
        return event, MAX_TTL
    if ttl <= 0:
        raise IncompleteError(f"{TTL} has run out")
    return event, ttl
