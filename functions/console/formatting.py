"""Formats of times, durations and states; the filters of the templates."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from functions.events.schedule import ScheduleDue

# Every state, as one of five tones; the text names it too, never colour alone.
_TONES = {
    "good": "ok done delivered handled sent completed complete succeeded success do_success"
    " redriven ready nothing_to_do",
    "busy": "running in_progress pending redriving starting dead-lettering launched active doing"
    " retrying undoing undo_retrying received on_its_way",
    "wait": "waiting queued paused skipped no-sprint registered partially_registered missed due"
    " stale recorded_only late applying needs_approval",
    "bad": "failed dead-lettered error open returned undo_failed do_fail undo_fail lost"
    " undelivered not_registered overdue failing blocked failed_again",
}
NONE = "\N{EN DASH}"  # where there is no value

_TONE = {state: tone for tone, states in _TONES.items() for state in states.split()}


# States of steps that have a shorter name.
_STATE_NAMES = {
    "DO_SUCCESS": "done",
    "DO_FAIL": "failed",
    "UNDO_SUCCESS": "undone",
    "UNDO_FAIL": "not undone",
}


def tone(state: object) -> str:
    """The tone of a state.

    >>> tone("UNDO_FAILED"), tone("ok"), tone("cancelled")
    ('bad', 'good', 'calm')
    """
    return _TONE.get(str(state).lower().replace(" ", "_"), "calm")


def format_state(state: object) -> str:
    """A state as readers see it.

    >>> format_state("UNDO_FAILED"), format_state("DO_SUCCESS")
    ('undo failed', 'done')
    """
    if str(state) in _STATE_NAMES:
        return _STATE_NAMES[str(state)]
    return str(state).replace("_", " ").lower()


def duration(ms: float | None) -> str:
    """Milliseconds in the unit that fits.

    >>> [duration(x) for x in (0.4, 12.3, 1234, 75_000, 7_200_000)]
    ['0.4 ms', '12 ms', '1.2 s', '1 min 15 s', '2 h']
    """
    if ms is None:
        return NONE
    if ms < 10:
        return f"{ms:.1f} ms"
    if ms < 1000:
        return f"{ms:.0f} ms"
    seconds = ms / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def instant(value: object) -> datetime | None:
    """RFC 3339 text, or seconds since 1970, as an instant in UTC; None where it is neither."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def iso(value: object) -> str:
    found = instant(value)
    return found.isoformat(timespec="milliseconds") if found else ""


def clock(value: object, zone: str = "UTC") -> str:
    """The time of day in a zone."""
    found = _local(value, zone)
    return f"{found:%H:%M:%S}" if found else NONE


def clock_ms(value: object, zone: str = "UTC") -> str:
    """The time of day to the millisecond, where things happen within a second.

    >>> clock_ms("2026-03-02T14:00:00.1234Z", "Europe/Berlin")
    '15:00:00.123'
    """
    found = _local(value, zone)
    return f"{found:%H:%M:%S}.{found.microsecond // 1000:03}" if found else NONE


def moment(value: object, zone: str = "UTC") -> str:
    """Day and time in a zone, which the page names."""
    found = _local(value, zone)
    return f"{found:%d %b %Y %H:%M:%S}".lstrip("0") if found else NONE


def moment_ms(value: object, zone: str = "UTC") -> str:
    """Day, time to the millisecond, and zone.

    >>> moment_ms("2026-03-02T14:00:00.1234Z", "Europe/Berlin")
    '2 Mar 2026 15:00:00.123 Europe/Berlin'
    """
    found = _local(value, zone)
    return f"{found.day} {found:%b %Y} {clock_ms(found, zone)} {zone}" if found else NONE


def _local(value: object, zone: str) -> datetime | None:
    found = instant(value)
    return found.astimezone(ZoneInfo(zone)) if found else None


def in_zone(value: object, zone: str) -> str:
    """An instant as the clocks of a zone show it.

    >>> in_zone("2026-03-03T14:30:00Z", "America/Chicago")
    'Tue 3 Mar 2026, 08:30'
    """
    found = _local(value, zone)
    return f"{day(found.date())}, {found:%H:%M}" if found else NONE


def day(value: object) -> str:
    """A day.

    >>> day("2026-03-02")
    'Mon 2 Mar 2026'
    """
    found = value if isinstance(value, date) else date.fromisoformat(str(value)[:10])
    return f"{found:%a} {found.day} {found:%b %Y}"


def ago(value: object, now: datetime) -> str:
    """How long ago, or in how long.

    >>> now = datetime(2026, 3, 2, 12, tzinfo=UTC)
    >>> ago("2026-03-02T11:57:00Z", now), ago("2026-03-02T14:00:00Z", now)
    ('3 min ago', 'in 2 h')
    """
    found = instant(value)
    if found is None:
        return NONE
    gap = now - found
    message = _rough(abs(gap))
    return f"{message} ago" if gap >= timedelta(0) else f"in {message}"


def _rough(gap: timedelta) -> str:
    seconds = int(gap.total_seconds())
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {name}"
    return f"{seconds} s"


def count(number: int, one: str, many: str = "") -> str:
    """A number and its noun.

    >>> count(1, "event"), count(0, "event"), count(2, "entry", "entries")
    ('1 event', '0 events', '2 entries')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def usd(amount: float | None) -> str:
    """US dollars.

    >>> usd(0.1234), usd(12.5)
    ('$0.123', '$12.50')
    """
    if amount is None:
        return NONE
    return f"${amount:.3f}" if amount < 1 else f"${amount:,.2f}"


def short_type(type_: str) -> str:
    """An event type without its owner and version.

    >>> short_type("io.dsm.sprint.completed.v1"), short_type("dev.knative.sources.ping")
    ('sprint.completed', 'schedule tick')
    """
    if type_ == ScheduleDue.type:
        return "schedule tick"
    if not type_.startswith("io.dsm."):
        return type_
    body, _, version = type_.removeprefix("io.dsm.").rpartition(".")
    return body if version[1:].isdecimal() else f"{body}.{version}"


def short_id(id: str) -> str:
    """The end of a run's id: ids of one minute begin alike, as they begin with the time.

    >>> short_id("01a22f24-526c-7e0d-85d6-0b6c65443554")
    '65443554'
    """
    return id[-8:]


def curl(event: Mapping[str, Any]) -> str:
    """A command that sends the event to the Broker whose URL is in BROKER_URL.

    >>> print(curl({"id": "1"}))
    curl -H "Content-Type: application/cloudevents+json" -d '{"id": "1"}' "$BROKER_URL"
    """
    body = shlex.quote(json.dumps(event, ensure_ascii=False))
    return f'curl -H "Content-Type: application/cloudevents+json" -d {body} "$BROKER_URL"'


def pretty(value: object) -> str:
    """JSON for reading."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


FILTERS: Mapping[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        tone,
        format_state,
        duration,
        iso,
        clock,
        moment,
        in_zone,
        day,
        ago,
        count,
        short_type,
        short_id,
        pretty,
        curl,
        usd,
    )
}
