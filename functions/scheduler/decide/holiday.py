"""Where a time goes that falls on a holiday."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from functions.schedule_policy import Holiday
from functions.scheduler.decide.calendar import Calendar
from functions.scheduler.decide.nominal import Version, cron_of, times

_DAY, _MOMENT = timedelta(days=1), timedelta(microseconds=1)


def shifted(
    version: Version, at: datetime, calendars: Mapping[str, Calendar]
) -> tuple[datetime | None, str]:
    """When a time is due by its calendar, None where it is skipped, and the holiday's reason."""
    policy = version.policy
    calendar = calendars.get(policy.calendar)
    if calendar is None:
        return at, ""
    zone = cron_of(version).zone
    wall = at.astimezone(zone)
    reason = calendar.reason(wall.date())
    if not reason or policy.holiday is Holiday.SKIP:
        return (None if reason else at), reason
    day = calendar.working_day(wall.date(), 1 if policy.holiday is Holiday.NEXT else -1)
    if day is None:
        return None, f"{reason}, and no working day within a month"
    if _any(version, day, day):
        return None, f"{reason}; {day} has a run of its own"
    # A whole day moves; of several in a row that would move onto the same one, the nearest.
    near, far = sorted((wall.date(), day))
    if _any(version, near + _DAY, far - _DAY):
        return None, f"{reason}; a day nearer to {day} moves there"
    moved = datetime.combine(day, wall.time(), tzinfo=zone).astimezone(UTC)
    return moved, f"moved to {day}: {reason}"


def _any(version: Version, first: date, last: date) -> bool:
    """Has a schedule a time on one of these days, by its own clock?"""
    zone = cron_of(version).zone
    start, end = (
        datetime.combine(day, datetime.min.time(), tzinfo=zone).astimezone(UTC)
        for day in (first, last + _DAY)
    )
    policy = version.policy
    return any(
        (policy.start is None or at >= policy.start) and (policy.end is None or at <= policy.end)
        for at in times(version, start - _MOMENT, end - _MOMENT)
    )
