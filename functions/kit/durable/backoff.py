"""How long the next attempt waits."""

from __future__ import annotations

_MAX_DOUBLINGS = 30  # a float holds no power of every number of attempts


def backoff_s(failures: int, min_s: float = 5.0, max_s: float = 60.0) -> float:
    """Seconds after so many failures before this one: twice as long each time, up to `max_s`.

    >>> [backoff_s(failures) for failures in (0, 1, 2, 4, 10_000)]
    [5.0, 10.0, 20.0, 60.0, 60.0]
    """
    return min(min_s * 2.0 ** min(failures, _MAX_DOUBLINGS), max_s)
