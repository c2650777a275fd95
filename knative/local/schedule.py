"""When a PingSource's cron expression is due, in its time zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EXTENSION = re.compile(r"\d*(L|LW|W)", re.IGNORECASE)  # cronsim has them, robfig/cron has not
_FIELD = re.compile(r"[0-9A-Za-z*/,\-]+|\?")
_NO_YEAR_HAS_IT = "never comes"


class Schedule:
    """Five cron fields, or six with leading seconds, or a descriptor such as @daily.

    No more than robfig/cron understands: a day of the week is 0 to 6, and nothing has an L or W.

    A time that the clocks skip in spring fires right after the gap; one that they repeat in
    autumn fires once. Raises ValueError with the reason when `text` is no schedule.
    """

    def __init__(self, text: str, timezone: str = "") -> None:
        self.text = text
        self.zone = ZoneInfo(timezone) if timezone else UTC
        if text.startswith("@every"):
            raise ValueError("@every is not supported by PingSource; write cron fields")
        fields = _DESCRIPTORS.get(text, text).split()
        if len(fields) not in (5, 6):
            words = f"{text!r} is not a schedule: 5 or 6 fields or one of {', '.join(_DESCRIPTORS)}"
            raise ValueError(words)
        for field in fields:
            if not _FIELD.fullmatch(field) or any(_EXTENSION.fullmatch(n) for n in _names(field)):
                raise ValueError(f"{text!r} is not a schedule: {field!r} is not understood")
        if any(name.isdecimal() and int(name) > 6 for name in _names(fields[-1])):
            raise ValueError(f"{text!r} is not a schedule: a day of the week is 0 (Sunday) to 6")
        self._expression = " ".join("*" if field == "?" else field for field in fields)
        try:
            next(CronSim(self._expression, datetime(2024, 1, 1)))
        except CronSimError as error:
            raise ValueError(f"{text!r} is not a schedule: {error}") from None
        except StopIteration:
            raise ValueError(f"{text!r} {_NO_YEAR_HAS_IT}") from None

    def after(self, moment: datetime) -> datetime:
        """The first due time later than `moment` (aware), as UTC."""
        for due in CronSim(self._expression, moment.astimezone(self.zone)):
            # In a repeated hour the simulation may name the first pass, which is over.
            if due.astimezone(UTC) > moment:
                return due.astimezone(UTC)
        raise ValueError(f"{self.text!r} {_NO_YEAR_HAS_IT}")


def _names(field: str) -> list[str]:
    """What the field names, without the steps of its ranges.

    >>> _names("1-5/2,SUN")
    ['1', '5', 'SUN']
    """
    return [name for part in field.split(",") for name in part.partition("/")[0].split("-")]
