"""Sprints: how each one goes, from the chronicle's history."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from starlette.routing import Route

from functions.console.ask import Ask, Row
from functions.console.draw import line_plot
from functions.console.forecast import forecast
from functions.console.pages import Page
from functions.console.panels import Panel, Query
from functions.console.today import names_of
from functions.events.sprint import SprintDetail
from functions.kit.clients.service import path
from functions.kit.errors import NotFound

MAX_DAYS = 400
PROJECTS = 25
NOTES = 15


async def every(ask: Ask, query: Query) -> Mapping[str, Any]:
    """One page of projects with their sprints, those under way first within the page."""
    page = number_of(query, "page")
    projects = await ask.service(ask.services.sprints).read(
        "/sprints/list_projects", limit=PROJECTS + 1, offset=page * PROJECTS
    )
    rows = [
        {"project_id": project["project_id"], **sprint}
        for project in projects[:PROJECTS]
        for sprint in project["sprints"]
    ]
    rows.sort(key=lambda s: (s["status"] != "in_progress", s["project_id"]))
    return {"sprints": rows, **beside(page, len(projects) > PROJECTS)}


async def there_is(ask: Ask, query: Query) -> None:
    """`NotFound` where there is no such sprint."""
    await ask.service(ask.services.sprints).read(
        f"{path('sprints', query['sprint_id'])}/task-summary"
    )


def number_of(query: Query, name: str) -> int:
    """The page that the address names; the first where it names none."""
    given = query.get(name, "")
    return int(given) if given.isdecimal() and len(given) < 6 else 0


def beside(page: int, more: bool) -> dict[str, str]:
    """The queries of the pages before and after one."""
    return {
        "newer": f"page={page - 1}" if page else "",
        "older": f"page={page + 1}" if more else "",
    }


async def detail_of(ask: Ask, sprint_id: str) -> SprintDetail:
    sprints = ask.services.sprints
    found: SprintDetail = await ask.within(
        sprints.name, ("detail", sprint_id), lambda: sprints.detail(sprint_id)
    )
    return found


async def standing(ask: Ask, query: Query) -> Mapping[str, Any]:
    """The sprint and its tasks as they stand now."""
    detail, names = await asyncio.gather(detail_of(ask, query["sprint_id"]), names_of(ask))
    tasks = sorted(detail.tasks, key=lambda task: -task.progress_percentage)
    done = sum(task.progress_percentage == 100 for task in tasks)
    return {"sprint": detail.sprint, "tasks": tasks, "done": done, "names": names}


async def burndown(ask: Ask, query: Query) -> Mapping[str, Any]:
    """What is left, day by day, beside what would be left on a straight way to the end."""
    sprint_id = query["sprint_id"]
    answer, detail = await asyncio.gather(
        ask.service(ask.services.chronicle).read(
            f"/v1/analytics{path('sprint', sprint_id)}/burndown"
        ),
        detail_of(ask, sprint_id),
    )
    history: list[Row] = answer["days"]
    sprint = detail.sprint
    if not history:
        return {"days": []}
    total = float(max(day["total_tasks"] or 0 for day in history))
    first = sprint.start_date or date.fromisoformat(history[0]["date"])
    last = sprint.end_date or date.fromisoformat(history[-1]["date"])
    today, left = ask.ctx.now().date(), history[-1]["remaining"]
    seen = forecast(sprint.start_date, sprint.end_date, total - left, total, today)
    days = ideal_and_real(history, total, first, last)
    add_forecast(days, seen.ends if left else None)
    labels = [day_label(day["date"]) for day in days]
    title = f"Burndown of {sprint_id}: {left} of {total:g} tasks are left"
    series = {name: [day[name] for day in days] for name in ("ideal", "left", "forecast")}
    plot = line_plot(labels, series, title, y_title="tasks left", marked=day_label(today))
    tone = "bad" if seen.is_late else "good"
    return {"days": days, "plot": plot, "title": title, "tone": tone, "forecast": seen.words}


def day_label(day: date) -> str:
    """A day on an axis.

    >>> day_label(date(2026, 3, 2))
    '2 Mar'
    """
    return f"{day.day} {day:%b}"


def add_forecast(days: list[Row], ends: date | None) -> None:
    """Add a straight line from the last known value to zero on the day `ends`.

    >>> days = [{"date": date(2026, 3, day), "left": left} for day, left in ((2, 4), (3, None))]
    >>> add_forecast(days, date(2026, 3, 4))
    >>> [day["forecast"] for day in days]
    [4, 2.0]
    """
    known = [day for day in days if day["left"] is not None]
    begin = known[-1] if known else None
    for day in days:
        day["forecast"] = None
        if begin is None or ends is None or ends <= begin["date"]:
            continue
        share = (day["date"] - begin["date"]) / (ends - begin["date"])
        if 0 <= share <= 1:
            day["forecast"] = round(begin["left"] * (1 - share), 2) if share else begin["left"]


def ideal_and_real(history: Sequence[Row], total: float, first: date, last: date) -> list[Row]:
    """One row per day from the first to the last; what is not known is None.

    >>> rows = ideal_and_real([{"date": "2026-03-03", "remaining": 5}], 8,
    ...                       date(2026, 3, 2), date(2026, 3, 4))
    >>> [(row["ideal"], row["left"]) for row in rows]
    [(8.0, None), (4.0, 5), (0.0, None)]
    """
    told = {date.fromisoformat(day["date"]): day["remaining"] for day in history}
    first, end = min([first, *told]), max([last, *told])
    span = max((last - first).days, 1)
    length = min((end - first).days, MAX_DAYS) + 1
    rows = []
    for number in range(length):
        day = first + timedelta(days=number)
        ideal = max(0.0, round(total * (1 - number / span), 2))
        rows.append({"date": day, "ideal": ideal, "left": told.get(day)})
    return rows


async def progress(ask: Ask, query: Query) -> Mapping[str, Any]:
    """Each task's progress on each day on which it was told."""
    sprint_id = query["sprint_id"]
    sprints = ask.services.sprints
    answer, titled = await asyncio.gather(
        ask.service(ask.services.chronicle).read(
            f"/v1/analytics{path('sprint', sprint_id)}/burndown"
        ),
        ask.within(sprints.name, ("tasks", sprint_id), lambda: sprints.tasks(sprint_id)),
    )
    days = [day for day in answer["days"] if day["progress"]][-14:]
    tasks = sorted({task for day in days for task in day["progress"]})
    titles = {t.task_id: t.title for t in titled}
    rows = [
        {"id": id, "title": titles.get(id, ""), "days": [d["progress"].get(id) for d in days]}
        for id in tasks
    ]
    return {"days": [date.fromisoformat(day["date"]) for day in days], "tasks": rows}


async def notes(ask: Ask, query: Query) -> Mapping[str, Any]:
    """One page of the sprint's daily notes, newest first."""
    chronicle, page = ask.service(ask.services.chronicle), number_of(query, "page")
    sprint_id = query["sprint_id"]

    async def filed() -> list[Row]:
        try:
            rows: list[Row] = await chronicle.read(
                "/v1/notes/daily_scrum_report/notes",
                sprint_id=sprint_id,
                limit=NOTES + 1,
                offset=page * NOTES,
            )
        except NotFound:
            return []
        return rows

    found, names = await asyncio.gather(filed(), names_of(ask))
    around = beside(page, len(found) > NOTES)
    return {"notes": found[:NOTES], "names": names, "id": sprint_id, **around}


def routes() -> list[Route]:
    return [
        *Page("/sprints", "Sprints", [Panel("sprints", "Every sprint", every)]).routes(),
        *Page(
            "/sprints/{sprint_id}",
            "{sprint_id}",
            [
                Panel("burndown", "Burndown", burndown),
                Panel("standing", "As it stands", standing),
                Panel("progress", "Progress per task", progress),
                Panel("notes", "Daily notes", notes),
            ],
            parent=("/sprints", "Sprints"),
            exists=there_is,
        ).routes(),
    ]
