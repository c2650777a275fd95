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
from functions.console.sprints.sprint_attention import late
from functions.console.today.attention import MAX_AGE_S, found
from functions.console.today.morning import day_of
from functions.events.scrum import ScrumReported
from functions.events.sprint import SprintsReported
from functions.kit.errors import FunctionError


@dataclass(frozen=True)
class Number:
    """One number with its name, where it leads, and why it is unknown where `value` is None."""

    name: str
    href: str
    value: int | None = None
    tone: str = ""
    why: str = ""


async def glance(ask: Ask, query: Query) -> Mapping[str, Any]:
    """The numbers of a day; one whose source is unavailable is unknown, alone."""
    day = day_of(ask, query)
    is_today = day == ask.ctx.now().date()
    parts = [_sprints(ask, day), _scrums(ask, day)]
    if is_today:
        parts += [_late(ask), _attention(ask)]
    numbers = [number for part in await asyncio.gather(*parts) for number in part]
    order = ("sprints active", "complete", "late", "tasks moved", "notes filed", "need attention")
    numbers.sort(key=lambda number: order.index(number.name))
    away = {number.name: number.why for number in numbers if number.value is None and number.why}
    return {"numbers": numbers, "away": away, "ended": not is_today}


async def _sprints(ask: Ask, day: date) -> list[Number]:
    try:
        runs = await ask.runs("sprint-report", outcome="ok", answers="true", **hours(day))
    except FunctionError as error:
        return [
            Number(name, "#in-report", why=error.detail) for name in ("sprints active", "complete")
        ]
    reports = emitted(runs, SprintsReported.type)
    states = [row["state"] for row in reports[0]["sprints"]] if reports else []
    counts = {state: states.count(state) if reports else None for state in ("active", "complete")}
    return [
        Number("sprints active", "#in-report", counts["active"]),
        Number("complete", "#in-report", counts["complete"], "good" if counts["complete"] else ""),
    ]


async def _scrums(ask: Ask, day: date) -> list[Number]:
    try:
        runs = await good_runs(ask, "scrum-report", day)
    except FunctionError as error:
        return [
            Number(name, "#in-scrums", why=error.detail) for name in ("tasks moved", "notes filed")
        ]
    facts = emitted(runs, ScrumReported.type)
    return [
        Number("tasks moved", "#in-scrums", sum(fact["moved_tasks"] for fact in facts)),
        Number("notes filed", "#in-scrums", len(facts)),
    ]


async def _late(ask: Ask) -> list[Number]:
    try:
        total, _ = await late(ask)
    except FunctionError as error:
        return [Number("late", "/sprints", why=error.detail)]
    return [Number("late", "/sprints", total, "wait" if total else "")]


async def _attention(ask: Ask) -> list[Number]:
    kinds = await found(ask, MAX_AGE_S)
    total = sum(kind.total for kind in kinds)
    return [Number("need attention", "#panel-attention", total, "bad" if total else "good")]
