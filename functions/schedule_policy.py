"""The policies of a schedule, read from the annotations of its PingSource.

metadata:
  annotations:
    schedules.dsm.io/missed: all
    schedules.dsm.io/missed-window: 3d

A module of the standard library alone, as the linter reads the annotations with it, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum

PREFIX = "schedules.dsm.io/"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class PolicyError(ValueError):
    """An invalid annotation; the message names it and its valid values."""


class Missed(StrEnum):
    """Which times run that came due while nothing looked: all of them, the latest, none."""

    ALL = "all"
    LATEST = "latest"
    NONE = "none"


class Overlap(StrEnum):
    """What happens to a time while an earlier one runs."""

    ALLOW = "allow"
    SKIP = "skip"
    QUEUE_ONE = "queue-one"
    QUEUE_ALL = "queue-all"
    CANCEL = "cancel"


class Holiday(StrEnum):
    """Where a time goes that falls on a holiday of the calendar."""

    SKIP = "skip"
    PREVIOUS = "previous"
    NEXT = "next"


class Gap(StrEnum):
    """A wall time that the clock skips: it has no run, or runs right after the change."""

    SKIP = "skip"
    AFTER = "after"


class Fold(StrEnum):
    """A wall time that the clock repeats: it runs at the first, or at both."""

    FIRST = "first"
    BOTH = "both"


@dataclass(frozen=True)
class Policy:
    """The policies of one schedule; the defaults are those of a plain PingSource, and a catch-up.

    `missed_window`: how late a missed time may still run; None: until its day ends in the
    schedule's zone. That is until it is sent: then it has at least an hour to arrive. `jitter`: up
    to so much is added to each nominal time, always the same.
    `pause_after`: so many failures in a row pause the schedule; 0: never.
    """

    missed: Missed = Missed.LATEST
    missed_window: timedelta | None = None
    overlap: Overlap = Overlap.ALLOW
    calendar: str = ""
    holiday: Holiday = Holiday.SKIP
    jitter: timedelta = timedelta()
    gap: Gap = Gap.SKIP
    fold: Fold = Fold.BOTH
    start: datetime | None = None
    end: datetime | None = None
    pause_after: int = 0


def parse(annotations: Mapping[str, str]) -> Policy:
    """The policies that a PingSource's annotations name; `PolicyError` names what is wrong.

    >>> parse({"schedules.dsm.io/missed": "all", "schedules.dsm.io/missed-window": "3d"}).missed
    <Missed.ALL: 'all'>
    >>> try:
    ...     parse({"schedules.dsm.io/gap": "sometimes"})
    ... except PolicyError as error:
    ...     print(error)
    annotation schedules.dsm.io/gap: 'sometimes' is none of skip, after
    """
    known = {f"{PREFIX}{field.name.replace('_', '-')}": field.name for field in fields(Policy)}
    values: dict[str, object] = {}
    for name, text in annotations.items():
        if not name.startswith(PREFIX):
            continue
        if name not in known:
            raise PolicyError(f"annotation {name} is unknown; there are {', '.join(known)}")
        try:
            values[known[name]] = _READERS[known[name]](text.strip())
        except ValueError as error:
            raise PolicyError(f"annotation {name}: {error}") from None
    return Policy(**values)  # type: ignore[arg-type]  # each reader returns its field's type


def _one_of(kind: type[StrEnum]) -> Callable[[str], StrEnum]:
    """A reader of an enumeration whose error lists its values."""

    def read(text: str) -> StrEnum:
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"{text!r} is none of {', '.join(kind)}") from None

    return read


def _duration(text: str) -> timedelta:
    """`90s`, `15m`, `36h`, `3d`.

    >>> _duration("36h")
    datetime.timedelta(days=1, seconds=43200)
    """
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if found is None:
        raise ValueError(f"{text!r} is not a duration such as 90s, 15m, 36h or 3d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _window(text: str) -> timedelta | None:
    return None if text == "same-day" else _duration(text)


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no offset; write 2026-01-31T08:00:00Z")
    return at


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{1,6}", text):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


_READERS: dict[str, Callable[[str], object]] = {
    "missed": _one_of(Missed),
    "missed_window": _window,
    "overlap": _one_of(Overlap),
    "calendar": str,
    "holiday": _one_of(Holiday),
    "jitter": _duration,
    "gap": _one_of(Gap),
    "fold": _one_of(Fold),
    "start": _instant,
    "end": _instant,
    "pause_after": _count,
}
