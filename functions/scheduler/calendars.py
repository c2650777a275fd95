"""Calendars as documents, YAML or ICS, in a folder: a ConfigMap that is mounted.

They are documents and no library, as an update of a library would rewrite the past.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from functions.kit.errors import PermanentError
from functions.scheduler.decide.calendar import Calendar

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


class Document(BaseModel):
    """A calendar's YAML document."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=63)
    version: str = Field(min_length=1, max_length=63)
    weekend: list[Weekday] = []
    holidays: dict[datetime.date, str] = {}


def read(folder: Path) -> tuple[dict[str, Calendar], list[PermanentError]]:
    """Every calendar of a folder by its name, and what is wrong with files that are none.

    An error names file, field and problem; it costs no other calendar.
    """
    found: dict[str, Calendar] = {}
    problems: list[PermanentError] = []
    # A mounted ConfigMap has links to hidden folders beside its files.
    for path in sorted(p for p in folder.glob("[!.]*") if p.is_file()):
        try:
            calendar = _from_ics(path) if path.suffix == ".ics" else _from_yaml(path)
            if calendar.name in found:
                name = calendar.name
                raise PermanentError(f"{path}: calendar {name} stands in another file, too")
            found[calendar.name] = calendar
        except PermanentError as error:
            problems.append(error)
    return found, problems


def _from_yaml(path: Path) -> Calendar:
    try:
        document = Document.model_validate(yaml.safe_load(path.read_bytes()))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise PermanentError(f"{path}: {field or 'document'}: {first['msg']}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PermanentError(f"{path}: {error}") from None
    weekend = frozenset(get_args(Weekday).index(day) for day in document.weekend)
    return Calendar(document.name, document.version, document.holidays, weekend)


def _from_ics(path: Path) -> Calendar:
    """An iCalendar file: its days are all-day events; name and version are X-WR-CALNAME and the
    file's latest LAST-MODIFIED."""
    import icalendar  # 40 ms, and most installations have none of these

    try:
        document = icalendar.Calendar.from_ical(path.read_bytes())
    except ValueError as error:
        raise PermanentError(f"{path}: {error}") from None
    days: dict[datetime.date, str] = {}
    changed: list[str] = []
    for event in document.events:
        name = str(event.get("SUMMARY", "holiday"))
        if event.rrules:
            raise PermanentError(f"{path}: {name}: RRULE is not read; list each year's day")
        days |= dict.fromkeys(_days(event.DTSTART, event.DTEND), name)
        if event.LAST_MODIFIED is not None:
            changed.append(f"{event.LAST_MODIFIED:%Y-%m-%d}")
    title = str(document.get("X-WR-CALNAME", path.stem))
    return Calendar(title, max(changed, default="unversioned"), days)


def _days(start: datetime.date | None, end: datetime.date | None) -> list[datetime.date]:
    """The days of an all-day event, whose end is the day after; none where it has a time of day."""
    if start is None or isinstance(start, datetime.datetime):
        return []
    length = (end - start).days if end is not None else 1
    return [start + datetime.timedelta(days=n) for n in range(max(1, length))]
