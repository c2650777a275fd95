"""Until when GitHub wants no more requests, by its answer.

Source: docs.github.com, "Rate limits for the REST API": a secondary limit is a 403 or 429 with
`Retry-After`, or else asks for a minute; the hour's limit has what remains of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from functions.kit.errors import TemporaryError

PAUSE = timedelta(minutes=1)
_SECONDARY = "secondary rate limit"


class RateLimited(TemporaryError):
    """GitHub wants no more requests for `delay_s` seconds."""


class PutOff(RateLimited):
    """A minor change would take what is left to others; GitHub was not asked."""


def rests_until(
    status: int, headers: Mapping[str, str], now: datetime, reserve: int, text: str = ""
) -> datetime | None:
    """The moment from which on the same credentials may ask again; None where they may at once.

    `reserve` requests of the hour's limit, at most half of it, are left to others; `text` is what
    GitHub says with a refusal. Times are GitHub's.

    >>> now = datetime(2026, 1, 1, tzinfo=UTC)
    >>> hour = {"x-ratelimit-limit": "5000", "x-ratelimit-reset": str(int(now.timestamp()) + 60)}
    >>> rests_until(200, hour | {"x-ratelimit-remaining": "1001"}, now, 1000)
    >>> print(rests_until(200, hour | {"x-ratelimit-remaining": "1000"}, now, 1000))
    2026-01-01 00:01:00+00:00
    >>> print(rests_until(429, {"retry-after": "7"}, now, 0))
    2026-01-01 00:00:07+00:00
    """
    refused = status in (403, 429)
    after = _number(headers.get("retry-after"))
    if refused and after is not None:
        return now + timedelta(seconds=after)
    remaining = _number(headers.get("x-ratelimit-remaining"))
    reset = _number(headers.get("x-ratelimit-reset"))
    if remaining is not None and reset is not None:
        half = (_number(headers.get("x-ratelimit-limit")) or 0) // 2
        if remaining <= (0 if refused else min(reserve, half)):
            return datetime.fromtimestamp(reset, UTC)
    # A 403 without a time is of a right that is missing, but for its text.
    return now + PAUSE if status == 429 or (refused and _SECONDARY in text) else None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) < 11 else None
