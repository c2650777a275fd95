"""A day in six numbers: its sprints, what moved, what was filed, and what needs attention."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from functions.console.ask import Ask
from functions.console.panels import Query
from functions.console.runs import emitted, good_runs, hours
from functions.console.sprints.active_sprints import active_sprints, outlooks
from functions.console.today.attention import MAX_AGE_S, found
from functions.console.today.morning import day_of
from functions.console.today.scrums import notes_of
from functions.events.scrum import ScrumReported
from functions.events.sprint import SprintsReported
from functions.kit.errors import FunctionError


@dataclass(frozen=True)
class Number:
    """One number with its name, where it leads, and what else is known.

    Where `value` is None it is unknown, and `why` says so where a service is unavailable.
    """

    name: str
    href: str
    value: int | None = None
    tone: str = ""
    why: str = ""
    note: str = ""

    @property
    def label(self) -> str:
        """The name as it stands beside the value."""
        return _ONE.get(self.name, self.name) if self.value == 1 else self.name


_ONE = {
    "sprints active": "sprint active",
    "tasks moved": "task moved",
    "notes filed": "note filed",
    "need attention": "needs attention",
}


async def glance(ask: Ask, query: Query) -> Mapping[str, Any]:
    """The numbers of a day; one whose source is unavailable is unknown, alone."""
    day = day_of(ask, query)
    is_today = day == ask.ctx.now().date()
    parts = [_active(ask, day, is_today), _complete(ask, day), _scrums(ask, day)]
    if is_today:
        parts += [_late(ask), _attention(ask)]
    numbers = [number for part in await asyncio.gather(*parts) for number in part]
    order = ("sprints active", "complete", "late", "tasks moved", "notes filed", "need attention")
    numbers.sort(key=lambda number: order.index(number.name))
    away = {number.name: number.why for number in numbers if number.value is None and number.why}
    return {"numbers": numbers, "away": away, "ended": not is_today}


async def _active(ask: Ask, day: date, is_today: bool) -> list[Number]:
    """As Sprints have it now; of a past day, or without the counts, by the day's last report."""
    name = "sprints active"
    try:
        if is_today and (found := await active_sprints(ask)) is not None:
            return [Number(name, "/sprints", len(found))]
        return [Number(name, "#in-report", await _reported(ask, day, "active"))]
    except FunctionError as error:
        return [Number(name, "/sprints" if is_today else "#in-report", why=error.detail)]


async def _complete(ask: Ask, day: date) -> list[Number]:
    try:
        number = await _reported(ask, day, "complete")
    except FunctionError as error:
        return [Number("complete", "#in-report", why=error.detail)]
    return [Number("complete", "#in-report", number, "good" if number else "")]


async def _reported(ask: Ask, day: date, state: str) -> int | None:
    """How many sprints the day's last report has in a state; None without a report."""
    runs = await ask.runs("sprint-report", outcome="ok", answers="true", **hours(day))
    reports = emitted(runs, SprintsReported.type)
    return [row["state"] for row in reports[0]["sprints"]].count(state) if reports else None


async def _scrums(ask: Ask, day: date) -> list[Number]:
    """What the day's scrums moved and filed; notes of which no run is on record are counted too.

    How many tasks moved only a run knows.
    """
    moved, filed = "tasks moved", "notes filed"
    try:
        facts = emitted(await good_runs(ask, "scrum-report", day), ScrumReported.type)
        notes = len(facts) or len(await notes_of(ask, day))
    except FunctionError as error:
        return [Number(name, "#in-scrums", why=error.detail) for name in (moved, filed)]
    total = sum(fact["moved_tasks"] for fact in facts) if facts or not notes else None
    return [Number(moved, "#in-scrums", total), Number(filed, "#in-scrums", notes)]


async def _late(ask: Ask) -> list[Number]:
    try:
        seen = [one.forecast for one in (await outlooks(ask)).values()]
    except FunctionError as error:
        return [Number("late", "/sprints", why=error.detail)]
    total = sum(one.is_late for one in seen)
    early = sum(one.late_days is None and not one.is_late for one in seen)
    note = f"{early} too early to say" if early else ""
    return [Number("late", "/sprints", total, "wait" if total else "", note=note)]


async def _attention(ask: Ask) -> list[Number]:
    kinds = await found(ask, MAX_AGE_S)
    total = sum(kind.total for kind in kinds)
    return [Number("need attention", "#panel-attention", total, "bad" if total else "good")]
