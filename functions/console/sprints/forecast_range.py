"""Between which days a sprint will be done, by the slower and the faster half of its reports."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from functions.console.ask import Row

# Fewer paces than this tell no range.
MIN_PACES = 3
MAX_DAYS = 366


@dataclass(frozen=True)
class ForecastRange:
    """The first and the last day that can be expected; None for one that is not in sight."""

    first: date | None
    last: date | None

    @property
    def message(self) -> str:
        if self.first is None or self.first == self.last:
            return ""
        worst = f"on {self.last}" if self.last else "no end is in sight"
        return f"at best on {self.first}, at worst {worst}"


def forecast_range(
    history: Sequence[Row], off: Callable[[date], str], ends: date | None = None
) -> ForecastRange | None:
    """The range of a sprint with that history, around the day on which it `ends` at its pace; None
    where the history says too little.

    >>> rows = [{"date": f"2026-03-{day:02}", "remaining": left}
    ...         for day, left in ((2, 10), (3, 9), (4, 6), (5, 5), (6, 4))]
    >>> weekend = lambda day: "weekend" if day.weekday() > 4 else ""
    >>> forecast_range(rows, weekend).message
    'at best on 2026-03-10, at worst on 2026-03-12'
    >>> forecast_range(rows[:3], weekend)
    """
    found = sorted(paces(history, off))
    left = history[-1]["remaining"] if history else 0
    if len(found) < MIN_PACES or not left:
        return None
    half = len(found) // 2
    slow, fast = sum(found[:half]) / half, sum(found[-half:]) / half
    reported = date.fromisoformat(history[-1]["date"])
    first, last = _after(reported, left, fast, off), _after(reported, left, slow, off)
    if ends is not None:
        first, last = min(first or ends, ends), last and max(last, ends)
    return ForecastRange(first, last)


def paces(history: Sequence[Row], off: Callable[[date], str]) -> list[float]:
    """How much was done per working day between each report and the next.

    What was done on days off alone belongs to the working days that follow.

    >>> rows = [{"date": f"2026-03-{day:02}", "remaining": left}
    ...         for day, left in ((6, 9), (8, 7), (9, 6))]
    >>> paces(rows, lambda day: "weekend" if day.weekday() > 4 else "")
    [3.0]
    """
    found, before = [], 0.0
    for one, other in pairwise(history):
        begin, end = date.fromisoformat(one["date"]), date.fromisoformat(other["date"])
        days = [begin + timedelta(days=number + 1) for number in range((end - begin).days)]
        working = sum(not off(day) for day in days[:MAX_DAYS])
        before += one["remaining"] - other["remaining"]
        if working:
            found.append(max(0.0, before / working))
            before = 0.0
    return found


def _after(day: date, left: float, pace: float, off: Callable[[date], str]) -> date | None:
    """The working day on which all is done at a pace; None where that is over a year away."""
    if pace <= 0:
        return None
    needed = math.ceil(left / pace)
    for _ in range(MAX_DAYS):
        day += timedelta(days=1)
        needed -= not off(day)
        if needed <= 0:
            return day
    return None
