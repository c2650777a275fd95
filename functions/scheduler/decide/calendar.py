"""Calendars: versioned documents that name the days on which a schedule does not run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta


@dataclass(frozen=True)
class Calendar:
    """Days and why they are none: `name` and `version` stand in each reason.

    `weekend`: weekdays that are never working days, Monday is 0.
    """

    name: str
    version: str
    days: Mapping[date, str] = field(default_factory=dict)
    weekend: frozenset[int] = frozenset()

    def reason(self, day: date) -> str:
        """Why a day is no working day; empty when it is one.

        >>> us = Calendar("us-federal", "2026.1", {date(2026, 11, 26): "Thanksgiving Day"})
        >>> us.reason(date(2026, 11, 26))
        'Thanksgiving Day (us-federal, 2026.1)'
        """
        if day in self.days:
            return f"{self.days[day]} ({self.name}, {self.version})"
        if day.weekday() in self.weekend:
            return f"{day:%A} ({self.name}, {self.version})"
        return ""

    def working_day(self, day: date, step: int) -> date | None:
        """The next working day (`step` 1) or the previous one (-1); None: none within 30 days."""
        for distance in range(1, 31):
            found = day + timedelta(days=distance * step)
            if not self.reason(found):
                return found
        return None
