"""When a sprint will be done at its pace so far; a task that is begun counts in part."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta

# A sprint that has completed nothing has no pace; after so much of its time that is late.
_IDLE_SHARE = 0.5
_MAX_DAYS = 3650


@dataclass(frozen=True)
class Forecast:
    """`ends` is the day on which the last task is done; None where it cannot be known."""

    ends: date | None
    is_late: bool
    message: str


def forecast(
    start: date | None, end: date | None, completed: float, total: float, today: date
) -> Forecast:
    """A sprint's forecast on a day.

    >>> start, end = date(2026, 3, 2), date(2026, 3, 16)
    >>> forecast(start, end, 5, 10, date(2026, 3, 6)).message
    'at its pace it is done on 2026-03-10, in time for 2026-03-16'
    >>> forecast(start, end, 1, 10, date(2026, 3, 6)).message
    'at its pace it is done on 2026-04-11, after its end on 2026-03-16'
    >>> forecast(start, end, 0, 10, date(2026, 3, 10)).message
    'no task is done, and 57 % of its time is over'
    >>> forecast(start, end, 9, 10, date(2026, 3, 20)).message
    'it should have ended on 2026-03-16; 9 of 10 tasks are done'
    """
    if total and completed >= total:
        return Forecast(today, False, "all of its tasks are done")
    if start is None or end is None or not total or end <= start:
        return Forecast(None, False, "it has no dates or no tasks to forecast from")
    if today > end:
        message = f"it should have ended on {end}; {completed:g} of {total:g} tasks are done"
        return Forecast(None, True, message)
    elapsed, length = (today - start).days, (end - start).days
    if elapsed <= 0:
        return Forecast(None, False, "it has just begun")
    if not completed:
        share = elapsed / length
        message = f"no task is done, and {share:.0%} of its time is over".replace("%", " %")
        return Forecast(None, share >= _IDLE_SHARE, message)
    days = min(math.ceil(elapsed * total / completed), _MAX_DAYS)
    ends = start + timedelta(days=days)
    where = f"after its end on {end}" if ends > end else f"in time for {end}"
    return Forecast(ends, ends > end, f"at its pace it is done on {ends}, {where}")
