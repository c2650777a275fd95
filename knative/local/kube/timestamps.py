"""Time as Kubernetes writes it: RFC 3339, UTC, whole seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

_source: Callable[[], float] = time.time


def follow(source: Callable[[], float]) -> None:
    """Have all stamps of this process be of another time: a virtual one."""
    global _source
    _source = source


def now() -> float:
    """The Unix time."""
    return _source()


def stamp(seconds: float | None = None) -> str:
    """A `metav1.Time` of a Unix time, by default of now.

    >>> stamp(0)
    '1970-01-01T00:00:00Z'
    """
    moment = datetime.fromtimestamp(now() if seconds is None else seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(moment: str) -> float:
    """The Unix time of a `metav1.Time`.

    >>> seconds("1970-01-01T00:01:00Z")
    60.0
    """
    return datetime.fromisoformat(moment).timestamp()
