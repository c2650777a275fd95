"""Sprints: how each one goes, from the chronicle's history."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from starlette.routing import Route

from functions.console.ask import Ask, Row
from functions.console.names import employee_names, project_names
from functions.console.pages import Page
from functions.console.panels import Panel, Query
from functions.console.sprints.active_sprints import forecasts
from functions.console.sprints.forecast import Forecast
from functions.events.sprint import SprintDetail, Task
from functions.kit.clients import path
from functions.kit.errors import FunctionError, NotFound

PROJECTS = 25
NOTES = 15


async def every(ask: Ask, query: Query) -> Mapping[str, Any]:
    """One page of projects with their sprints, those under way first within the page."""
    page = number_of(query, "page")
    projects, names = await asyncio.gather(
        ask.service(ask.services.sprints).read(
            "/sprints/list_projects", limit=PROJECTS + 1, offset=page * PROJECTS
        ),
        project_names(ask),
    )
    rows = [
        {
            "project_id": (project_id := project["project_id"]),
            "project_name": names.get(project_id, ""),
            **sprint,
        }
        for project in projects[:PROJECTS]
        for sprint in project["sprints"]
    ]
    rows.sort(key=lambda s: (s["status"] != "in_progress", s["project_id"]))
    if active := [row for row in rows if row["status"] == "in_progress"]:
        forecasts = await _forecasts(ask)
        for row in active:
            row["forecast"] = forecasts.get(row["sprint_id"])
    return {"sprints": rows, **beside(page, len(projects) > PROJECTS)}


async def _forecasts(ask: Ask) -> dict[str, Forecast]:
    """The forecast of each active sprint; none where it is unavailable."""
    try:
        return await forecasts(ask)
    except FunctionError:
        return {}


async def sprint_name(ask: Ask, query: Query) -> str:
    """`NotFound` where there is no such sprint."""
    return (await detail_of(ask, query["sprint_id"])).sprint.sprint_name


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


async def status(ask: Ask, query: Query) -> Mapping[str, Any]:
    """The sprint and its tasks as they are now."""
    detail, names, projects = await asyncio.gather(
        detail_of(ask, query["sprint_id"]), employee_names(ask), project_names(ask)
    )
    tasks = sorted(detail.tasks, key=lambda task: -task.progress_percentage)
    done = sum(task.progress_percentage == 100 for task in tasks)
    project = projects.get(detail.sprint.project_id, "")
    return {
        "sprint": detail.sprint,
        "project": project,
        "tasks": tasks,
        "done": done,
        "share": round(100 * done / len(tasks), 2) if tasks else 0,
        "mean": mean_progress(tasks) if tasks else 0,
        "names": names,
    }


def mean_progress(tasks: Sequence[Task]) -> int:
    """Of one task or more, in percent, rounded down: 100 only where all are done."""
    return int(sum(task.progress_percentage for task in tasks) / len(tasks))


async def history_of(ask: Ask, sprint_id: str) -> list[Row]:
    """The days of a sprint on which a report was filed, the oldest first."""
    at = f"/v1/analytics{path('sprint', sprint_id)}/burndown"
    answer = await ask.service(ask.services.chronicle).read(at)
    days: list[Row] = answer["days"]
    return days


async def progress(ask: Ask, query: Query) -> Mapping[str, Any]:
    """Each task's progress on each reported day."""
    sprint_id = query["sprint_id"]
    sprints = ask.services.sprints
    history, titled = await asyncio.gather(
        history_of(ask, sprint_id),
        ask.within(sprints.name, ("tasks", sprint_id), lambda: sprints.tasks(sprint_id)),
    )
    days = [day for day in history if day["progress"]][-14:]
    tasks = sorted({task for day in days for task in day["progress"]})
    titles = {t.task_id: t.title for t in titled}
    rows = [
        {"id": id, "title": titles.get(id, ""), "days": [d["progress"].get(id) for d in days]}
        for id in tasks
    ]
    return {"days": [date.fromisoformat(day["date"]) for day in days], "tasks": rows}


async def notes(ask: Ask, query: Query) -> Mapping[str, Any]:
    """One page of the sprint's daily notes, newest first."""
    page, sprint_id = number_of(query, "page"), query["sprint_id"]
    found, names = await asyncio.gather(
        _notes(ask, sprint_id, NOTES + 1, page * NOTES), employee_names(ask)
    )
    around = beside(page, len(found) > NOTES)
    return {"notes": found[:NOTES], "names": names, "id": sprint_id, **around}


async def newest_note(ask: Ask, sprint_id: str) -> Row | None:
    """The sprint's last daily note; None where there is none."""
    found = await _notes(ask, sprint_id, 1, 0)
    return found[0] if found else None


async def _notes(ask: Ask, sprint_id: str, limit: int, offset: int) -> list[Row]:
    chronicle = ask.service(ask.services.chronicle)
    at = "/v1/notes/daily_scrum_report/notes"
    try:
        rows: list[Row] = await chronicle.read(at, sprint_id=sprint_id, limit=limit, offset=offset)
    except NotFound:
        return []
    return rows


def routes() -> list[Route]:
    return Page(
        "/sprints", "Sprints", [Panel("sprints", "Every sprint", every, live_s=30)]
    ).routes()
