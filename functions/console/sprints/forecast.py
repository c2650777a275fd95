"""When a sprint will be done at its pace so far; a task that is begun counts in part.

The pace is of working days: nothing is done on the others, before today or after it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

from functions.console.formatting import count

# A sprint that has completed nothing has no pace; after so much of its time that is late.
_IDLE_SHARE = 0.5
_MAX_DAYS = 3650


@dataclass(frozen=True)
class Forecast:
    """`ends` is the day on which the last task is done; None where it cannot be known.

    `late_days` is how many days after its end that is, negative before it; None: not known.
    """

    ends: date | None
    is_late: bool
    message: str
    late_days: int | None = None

    @property
    def against_plan(self) -> str:
        """How it will end, in a few words."""
        if self.late_days is not None:
            return against_plan(self.late_days)
        return "nothing is done" if self.is_late else "too early to say"


def against_plan(late_days: int) -> str:
    """Days after the planned end, or before it, in words.

    >>> against_plan(-6), against_plan(0), against_plan(1)
    ('6 days early', 'on time', '1 day late')
    """
    if late_days == 0:
        return "on time"
    return f"{count(abs(late_days), 'day')} {'late' if late_days > 0 else 'early'}"


def forecast(
    start: date | None,
    end: date | None,
    completed: float,
    total: float,
    today: date,
    off: Callable[[date], str],
) -> Forecast:
    """A sprint's forecast on a day; `off` says why a day is no working day.

    >>> start, end = date(2026, 3, 2), date(2026, 3, 16)
    >>> weekend = lambda day: "weekend" if day.weekday() > 4 else ""
    >>> forecast(start, end, 5, 10, date(2026, 3, 6), weekend).message
    'at its pace it is done on 2026-03-12, in time for 2026-03-16'
    >>> forecast(start, end, 5, 10, date(2026, 3, 6), weekend).against_plan
    '4 days early'
    >>> forecast(start, end, 1, 10, date(2026, 3, 6), weekend).message
    'at its pace it is done on 2026-04-27, after its end on 2026-03-16'
    >>> forecast(start, end, 0, 10, date(2026, 3, 10), weekend).message
    'no task is done, and 60 % of its time is over'
    >>> forecast(start, end, 9, 10, date(2026, 3, 20), weekend).message
    'it should have ended on 2026-03-16; 9 of 10 tasks are done'
    """
    if total and completed >= total:
        # Late or not was decided when the last one was done, which is not known here.
        early = min(0, (today - end).days) if end else None
        return Forecast(today, False, "all of its tasks are done", early)
    if start is None or end is None or not total or end <= start:
        return Forecast(None, False, "it has no dates or no tasks to forecast from")
    if today > end:
        message = f"it should have ended on {end}; {completed:g} of {total:g} tasks are done"
        return Forecast(None, True, message, (today - end).days)
    elapsed, length = _working(start, today, off), max(1, _working(start, end, off))
    if elapsed <= 0:
        return Forecast(None, False, "it has just begun")
    if not completed:
        share = elapsed / length
        message = f"no task is done, and {share:.0%} of its time is over".replace("%", " %")
        return Forecast(None, share >= _IDLE_SHARE, message)
    ends = _after(start, math.ceil(elapsed * total / completed), off)
    where = f"after its end on {end}" if ends > end else f"in time for {end}"
    message = f"at its pace it is done on {ends}, {where}"
    return Forecast(ends, ends > end, message, (ends - end).days)


def _working(start: date, until: date, off: Callable[[date], str]) -> int:
    """How many working days there are after `start`, up to `until`."""
    days = min((until - start).days, _MAX_DAYS)
    return sum(not off(start + timedelta(days=number)) for number in range(1, days + 1))


def _after(start: date, days: int, off: Callable[[date], str]) -> date:
    """The day that is so many working days after `start`, at most ten years."""
    day = start
    for _ in range(_MAX_DAYS):
        if days <= 0:
            break
        day += timedelta(days=1)
        days -= not off(day)
    return day
