"""Cron expressions as PingSource reads them: the dialect of robfig/cron v3, and its due times.

A module of the standard library alone: the functions, the local Knative and the linter read
schedules with it, so that all of them agree with a cluster.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MAX_YEARS = 5  # how far ahead the next time is looked for


class CronError(ValueError):
    """Text that is no cron expression; the message has the reason."""


class UnknownZoneError(CronError):
    """A time zone that does not exist."""


class Cron:
    """Five fields, or six with leading seconds, or a descriptor such as @daily.

    The zone is `timezone`, or a prefix `CRON_TZ=Zone ` or `TZ=Zone `, or else UTC. Raises
    `CronError` with the reason when `text` is no expression. `@every` is none: PingSource refuses
    it.
    """

    def __init__(self, text: str, timezone: str = "") -> None:
        self.text = text
        self.zone, expression = _split_zone(f"CRON_TZ={timezone} {text}" if timezone else text)
        if expression.startswith("@"):
            if expression not in _DESCRIPTORS:
                known = ", ".join(_DESCRIPTORS)
                raise CronError(f"the descriptor {expression} is none of {known}")
            expression = _DESCRIPTORS[expression]
        fields = expression.split()
        if len(fields) not in (5, 6):
            raise CronError(f"expected 5 fields, or 6 with leading seconds, found {len(fields)}")
        if len(fields) == 5:
            fields.insert(0, "0")
        self._fields = [_field(text, span) for text, span in zip(fields, _SPANS, strict=True)]

    def after(self, moment: datetime) -> datetime | None:
        """The first due time later than `moment` (aware), in UTC; None: none within five years.

        The clock on the wall decides: a time that it skips is not due, one that it repeats is due
        twice. The steps are those of robfig/cron, whose search also misses some midnights beside
        a change of the clock.
        """
        at = (moment.astimezone(UTC) + timedelta(seconds=1)).replace(microsecond=0)
        last_year = at.astimezone(self.zone).year + _MAX_YEARS
        is_aligned = False  # are the smaller units at their start?
        level = 0
        while level < len(_UNITS):
            wall = at.astimezone(self.zone)
            if wall.year > last_year:
                return None
            unit = _UNITS[level]
            if unit.fits(self._fields, wall):
                level += 1
                continue
            if not is_aligned:
                wall, is_aligned = unit.start(wall), True
            at = unit.step(self._fields, wall)
            if unit.is_over(at.astimezone(self.zone)):
                level = 0
        return at


class _Span(NamedTuple):
    low: int
    high: int
    names: Mapping[str, int] = {}


_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_SPANS = (
    _Span(0, 59),
    _Span(0, 59),
    _Span(0, 23),
    _Span(1, 31),
    _Span(1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    _Span(0, 6, {name: number for number, name in enumerate(_WEEKDAYS)}),
)


class _Field(NamedTuple):
    values: frozenset[int]
    has_star: bool


def _split_zone(text: str) -> tuple[tzinfo, str]:
    """The zone that a prefix names, and the rest."""
    found = re.match(r"(?:CRON_)?TZ=(\S*)\s+(.*)", text, re.DOTALL)
    if found is None:
        return UTC, text
    try:
        return (ZoneInfo(found[1]) if found[1] else UTC), found[2]
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UnknownZoneError(f"{found[1]!r} is not a time zone such as America/Chicago") from None


def _field(text: str, span: _Span) -> _Field:
    """What a field lists; nothing between two commas is nothing, as in robfig/cron."""
    ranges = [_range(part, span) for part in text.split(",") if part]
    values = frozenset(value for one in ranges for value in one.values)
    return _Field(values, any(one.has_star for one in ranges))


def _range(text: str, span: _Span) -> _Field:
    ends, *steps = text.split("/")
    first, *rest = ends.split("-")
    if len(steps) > 1 or len(rest) > 1:
        raise CronError(f"{text!r} has too many {'slashes' if len(steps) > 1 else 'hyphens'}")
    is_star = first in ("*", "?")
    if is_star:
        low, high = span.low, span.high
    else:
        low = _number(first, span.names)
        high = _number(rest[0], span.names) if rest else span.high if steps else low
    step = _number(steps[0], {}) if steps else 1
    if low < span.low or high > span.high:
        raise CronError(f"{text!r} is outside of {span.low} to {span.high}")
    if low > high:
        raise CronError(f"{text!r} ends before it begins")
    if step < 1:
        raise CronError(f"the step of {text!r} must be positive")
    return _Field(frozenset(range(low, high + 1, step)), is_star and step == 1)


def _number(text: str, names: Mapping[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not re.fullmatch(r"\+?[0-9]+", text):
        raise CronError(f"{text!r} is not a number" + (" or a name" if names else ""))
    return int(text)


@dataclass(frozen=True)
class _Unit:
    """How to search for one unit of time: `step` leads from a wall time to a later UTC instant,
    and past none that fits.

    `is_over`: the larger units have to be looked at again.
    """

    fits: Callable[[list[_Field], datetime], bool]
    start: Callable[[datetime], datetime]
    step: Callable[[list[_Field], datetime], datetime]
    is_over: Callable[[datetime], bool]


def _day_fits(fields: list[_Field], wall: datetime) -> bool:
    days, weekdays = fields[3], fields[5]
    by_day, by_weekday = wall.day in days.values, wall.isoweekday() % 7 in weekdays.values
    if days.has_star or weekdays.has_star:
        return by_day and by_weekday
    return by_day or by_weekday


def _resolved(wall: datetime) -> datetime:
    """The wall time itself, or the one that the clock shows where it skips this one."""
    return _instant(wall).astimezone(wall.tzinfo)


def _next_month(fields: list[_Field], wall: datetime) -> datetime:
    first = wall.replace(day=1)
    return _instant(first.replace(year=wall.year + wall.month // 12, month=wall.month % 12 + 1))


def _next_day(fields: list[_Field], wall: datetime) -> datetime:
    at = _instant(wall + timedelta(days=1))
    # Where the clock skips midnight, or comes to it twice.
    hour = at.astimezone(wall.tzinfo).hour
    return at + timedelta(hours=24 - hour if hour > 12 else -hour)


def _later(
    index: int, value_of: Callable[[datetime], int], unit: timedelta
) -> Callable[[list[_Field], datetime], datetime]:
    """To the next value that the field lists, or to where the larger unit ends.

    One by one where the clock changes on the way.
    """

    def step(fields: list[_Field], wall: datetime) -> datetime:
        value, end = value_of(wall), _SPANS[index].high + 1
        following = min((v for v in fields[index].values if v > value), default=end)
        at = wall.astimezone(UTC)
        far = at + (following - value) * unit
        if far.astimezone(wall.tzinfo).utcoffset() == wall.utcoffset():
            return far
        return at + unit

    return step


def _instant(wall: datetime) -> datetime:
    """The UTC instant of a wall time. Near a change of the clock Go's choice, not Python's."""
    as_utc = wall.replace(tzinfo=UTC, fold=0)

    def offset(at: datetime) -> timedelta:
        return at.astimezone(wall.tzinfo).utcoffset() or timedelta()

    return as_utc - offset(as_utc - offset(as_utc))


_UNITS = (
    _Unit(
        fits=lambda fields, wall: wall.month in fields[4].values,
        start=lambda wall: _resolved(wall.replace(day=1, hour=0, minute=0, second=0)),
        step=_next_month,
        is_over=lambda wall: wall.month == 1,
    ),
    _Unit(
        fits=_day_fits,
        start=lambda wall: _resolved(wall.replace(hour=0, minute=0, second=0)),
        step=_next_day,
        is_over=lambda wall: wall.day == 1,
    ),
    _Unit(
        fits=lambda fields, wall: wall.hour in fields[2].values,
        start=lambda wall: _resolved(wall.replace(minute=0, second=0)),
        step=_later(2, lambda wall: wall.hour, timedelta(hours=1)),
        is_over=lambda wall: wall.hour == 0,
    ),
    _Unit(
        fits=lambda fields, wall: wall.minute in fields[1].values,
        start=lambda wall: wall.replace(second=0),
        step=_later(1, lambda wall: wall.minute, timedelta(minutes=1)),
        is_over=lambda wall: wall.minute == 0,
    ),
    _Unit(
        fits=lambda fields, wall: wall.second in fields[0].values,
        start=lambda wall: wall,
        step=_later(0, lambda wall: wall.second, timedelta(seconds=1)),
        is_over=lambda wall: wall.second == 0,
    ),
)
