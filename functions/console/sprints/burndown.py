"""A sprint's burndown: ideal, real and forecast, with non-working days and changes of scope."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from functions.console.ask import Ask, Row
from functions.console.panels import Query
from functions.console.plots.plot import line_plot
from functions.console.sprints.forecast import forecast
from functions.console.sprints.forecast_range import forecast_range
from functions.console.sprints.sprints import detail_of, history_of
from functions.console.sprints.working_days import days_off

MAX_DAYS = 400
SERIES = ("ideal", "left", "forecast", "at best", "at worst")


async def burndown(ask: Ask, query: Query) -> Mapping[str, Any]:
    """What is left, day by day, beside what would be left on a straight way to the end."""
    sprint_id = query["sprint_id"]
    history, detail, off = await asyncio.gather(
        history_of(ask, sprint_id), detail_of(ask, sprint_id), days_off(ask)
    )
    sprint = detail.sprint
    if not history:
        return {"days": []}
    total = float(max(day["total_tasks"] or 0 for day in history))
    first = sprint.start_date or date.fromisoformat(history[0]["date"])
    last = sprint.end_date or date.fromisoformat(history[-1]["date"])
    today, left = ask.ctx.now().date(), history[-1]["remaining"]
    seen = forecast(sprint.start_date, sprint.end_date, round(total - left, 6), total, today, off)
    days = ideal_and_real(history, total, first, last, off)
    between = forecast_range(history, off, seen.ends)
    add_forecast(days, "forecast", seen.ends if left else None)
    add_forecast(days, "at best", between.first if between else None)
    add_forecast(days, "at worst", between.last if between else None)
    add_scope(days, history)
    title = f"Burndown of {sprint_id}: {left} of {total:g} tasks are left"
    plot = line_plot(
        [day_label(day["date"]) for day in days],
        {name: [day[name] for day in days] for name in SERIES},
        title,
        y_title="tasks left",
        marked=day_label(today),
        shaded={number: row["off"] for number, row in enumerate(days) if row["off"]},
        notes={number: row["scope"] for number, row in enumerate(days) if row["scope"]},
    )
    return {
        "days": days,
        "plot": plot,
        "title": title,
        "tone": "bad" if seen.is_late else "good",
        "forecast": seen.message,
        "between": between.message if between and seen.ends else "",
        "reported": date.fromisoformat(history[-1]["date"]),
        "holidays": [row for row in days if row["off"] not in ("", "weekend")],
        "has_scope": any(row["scope"] for row in days),
    }


def day_label(day: date) -> str:
    """A day on an axis.

    >>> day_label(date(2026, 3, 2))
    '2 Mar'
    """
    return f"{day.day} {day:%b}"


def add_scope(days: Sequence[Row], history: Sequence[Row]) -> None:
    """Add to each day by how many tasks the sprint changed since the report before.

    >>> days = [{"date": date(2026, 3, 2)}, {"date": date(2026, 3, 3)}]
    >>> add_scope(days, [{"date": "2026-03-02", "total_tasks": 8},
    ...                  {"date": "2026-03-03", "total_tasks": 10}])
    >>> [day["scope"] for day in days]
    ['', '+2 tasks']
    """
    changes: dict[date, str] = {}
    before: int | None = None
    for report in history:
        total = report["total_tasks"]
        if before is not None and total is not None and total != before:
            noun = "task" if abs(total - before) == 1 else "tasks"
            changes[date.fromisoformat(report["date"])] = f"{total - before:+d} {noun}"
        before = before if total is None else total
    for day in days:
        day["scope"] = changes.get(day["date"], "")


def add_forecast(days: list[Row], name: str, ends: date | None) -> None:
    """Add a straight line from the last known value to zero on the day `ends`, as `name`.

    >>> days = [{"date": date(2026, 3, day), "left": left} for day, left in ((2, 4), (3, None))]
    >>> add_forecast(days, "forecast", date(2026, 3, 4))
    >>> [day["forecast"] for day in days]
    [4, 2.0]
    """
    known = [day for day in days if day["left"] is not None]
    begin = known[-1] if known else None
    for day in days:
        day[name] = None
        if begin is None or ends is None or ends <= begin["date"]:
            continue
        share = (day["date"] - begin["date"]) / (ends - begin["date"])
        if 0 <= share <= 1:
            day[name] = round(begin["left"] * (1 - share), 2) if share else begin["left"]


def ideal_and_real(
    history: Sequence[Row], total: float, first: date, last: date, off: Callable[[date], str]
) -> list[Row]:
    """One row per day from the first to the last; what is not known is None.

    The ideal line falls by the same amount on each working day after the first one; `off` says why
    a day is none. A sprint without a working day falls each day.

    >>> from functools import partial
    >>> from functions.console.sprints.working_days import why_off
    >>> rows = ideal_and_real([{"date": "2026-03-06", "remaining": 5}], 8,
    ...                       date(2026, 3, 5), date(2026, 3, 9), partial(why_off, holidays={}))
    >>> [(row["ideal"], row["left"], row["off"]) for row in rows]
    [(8.0, None, ''), (4.0, 5, ''), (4.0, None, 'weekend'), (4.0, None, 'weekend'), (0.0, None, '')]
    """
    reported = {date.fromisoformat(day["date"]): day["remaining"] for day in history}
    first, end = min([first, *reported]), max([last, *reported])
    length = min((end - first).days, MAX_DAYS) + 1
    rows: list[Row] = []
    for number in range(length):
        day = first + timedelta(days=number)
        rows.append({"date": day, "left": reported.get(day), "off": off(day)})
    falling = [row["date"] for row in rows if first < row["date"] <= last]
    falling = [day for day in falling if not off(day)] or falling
    for row in rows:
        fallen = sum(day <= row["date"] for day in falling) / max(len(falling), 1)
        row["ideal"] = round(total * (1 - fallen), 2)
    return rows
