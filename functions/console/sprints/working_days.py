"""Working days: all but weekends and the holidays of project-service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from functools import partial

from functions.console.ask import Ask
from functions.kit.errors import FunctionError

WEEKEND = (5, 6)


async def days_off(ask: Ask) -> Callable[[date], str]:
    """Tells why a day is no working day, empty where it is one: `why_off` of today's holidays."""
    return partial(why_off, holidays=await _holidays(ask))


async def _holidays(ask: Ask) -> dict[date, str]:
    """The holidays of project-service by day; none where it is unavailable."""
    try:
        found = await ask.service(ask.services.projects).read("/calendar/holidays")
    except FunctionError:
        return {}
    return {date.fromisoformat(row["holiday_date"]): row["holiday_name"] for row in found}


def why_off(day: date, holidays: Mapping[date, str]) -> str:
    """Why a day is no working day; empty where it is one.

    >>> why_off(date(2026, 3, 7), {}), why_off(date(2026, 3, 9), {})
    ('weekend', '')
    >>> why_off(date(2026, 5, 25), {date(2026, 5, 25): "Memorial Day"})
    'Memorial Day'
    """
    return holidays.get(day) or ("weekend" if day.weekday() in WEEKEND else "")
