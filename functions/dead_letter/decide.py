"""What a broker's attributes mean for an event that it gave up on: pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

# What brokers add on the way; an event that is sent again starts afresh.
_ADDED = "knative"

# An id in JSON: a name that ends with id, and its text.
_ID = re.compile(r'(?i:id)"\s*:\s*"([^"\\]{1,80})"')
MAX_IDS = 2


@dataclass(frozen=True)
class Failure:
    """Which destination could not handle an event, and what it answered.

    A broker leaves all three out where an answer was late or made no sense. `arrival` is the
    event's arrival at the broker, which distinguishes failures.
    """

    dest: str
    function: str | None
    code: int | None
    detail: str | None
    arrival: str | None


def failure(attributes: Mapping[str, str]) -> Failure:
    """What an event's extensions say.

    >>> failure({"knativeerrordest": "http://scrum-report.dsm.svc.cluster.local/"}).function
    'scrum-report'
    """
    dest = attributes.get("knativeerrordest", "")
    code = attributes.get("knativeerrorcode", "")
    return Failure(
        dest=dest,
        function=_host(dest),
        code=int(code) if code.isdecimal() and len(code) < 6 else None,
        detail=_decoded(attributes.get("knativeerrordata")),
        arrival=attributes.get("knativearrivaltime"),
    )


def original(attributes: Mapping[str, str]) -> dict[str, str]:
    """An event's attributes as they were before brokers added theirs.

    >>> original({"id": "1", "knativeerrorcode": "500", "partitionkey": "S01"})
    {'id': '1', 'partitionkey': 'S01'}
    """
    return {name: value for name, value in attributes.items() if not name.startswith(_ADDED)}


def _host(dest: str) -> str | None:
    try:
        host = urlsplit(dest).hostname
    except ValueError:
        return None
    return host.split(".")[0] if host else None


def _decoded(text: str | None) -> str | None:
    """The answer's body, which travels as base64 and may be cut; as it is, if it is not that."""
    if text is None:
        return None
    whole = text[: len(text) // 4 * 4]
    try:
        return base64.b64decode(whole, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return text


def about(subject: str | None, head: bytes) -> str:
    """What an event is about: its subject, or the first ids in the beginning of its JSON.

    >>> about(None, b'{"project_id": "GONE-2", "by": "x", "sprint_id": "S1"}')
    'GONE-2, S1'
    >>> about("A-1", b'{"project_id": "GONE-2"}'), about(None, b"text")
    ('A-1', '')
    """
    return subject or ", ".join(_ID.findall(head.decode(errors="replace"))[:MAX_IDS])
