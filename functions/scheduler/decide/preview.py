"""What will become of the coming nominal times, as far as that can be known now."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import islice

from functions.scheduler.decide.calendar import Calendar
from functions.scheduler.decide.nominal import times
from functions.scheduler.decide.reconcile import Schedule, covering, first_state
from functions.scheduler.decide.tick import Tick

# Days are looked at in steps, as most schedules come soon; robfig/cron looks five years ahead.
_HORIZONS = (timedelta(days=40), timedelta(days=400), timedelta(days=5 * 366))


def upcoming(
    schedule: Schedule, now: datetime, count: int, calendars: Mapping[str, Calendar]
) -> list[Tick]:
    """The next `count` nominal times, each due or already known to be skipped, and why."""
    version = schedule.versions[-1]
    found: list[datetime] = []
    for horizon in _HORIZONS:
        found = list(islice(times(version, now, now + horizon), count))
        if len(found) == count:
            break
    return [
        first_state(schedule, version, at, covering(schedule.pause, at), calendars) for at in found
    ]
