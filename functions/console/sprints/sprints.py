"""Sprints: how each one goes, from the chronicle's history."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Mapping, Sequence
from datetime import date
from typing import Any, TypeVar

from starlette.routing import Route

from functions.console.ask import Ask, Row
from functions.console.formatting import instant
from functions.console.names import employee_names, project_names
from functions.console.pages import Page
from functions.console.panels import Panel, Query
from functions.console.runs import emitted
from functions.console.sprints.active_sprints import outlooks
from functions.console.sprints.forecast import against_plan
from functions.events.cycle import CycleCompleted
from functions.events.sprint import SprintDetail, Task
from functions.kit.clients import path
from functions.kit.errors import FunctionError, NotFound

T = TypeVar("T")
PROJECTS = 25
NOTES = 15
CYCLES = 200  # of the last ones: when a sprint was closed


async def every(ask: Ask, query: Query) -> Mapping[str, Any]:
    """One page of projects with their sprints: those under way first, the most behind on top."""
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
    seen, closed = await asyncio.gather(_or_nothing(outlooks(ask)), _or_nothing(closing_days(ask)))
    for row in rows:
        row["outlook"] = seen.get(row["sprint_id"])
        row["closed"] = closed.get(row["sprint_id"])
        row["against_plan"] = _against_plan(row)
    rows.sort(key=_order)
    return {"sprints": rows, **beside(page, len(projects) > PROJECTS)}


def _against_plan(row: Row) -> str:
    """How a sprint will end, or has ended, beside the end that was planned."""
    if row["outlook"]:
        return str(row["outlook"].forecast.against_plan)
    if row["closed"] is None or row["status"] == "in_progress":
        return ""
    closed = f"closed {row['closed'].day} {row['closed']:%b}"
    if not row["end_date"]:
        return closed
    return f"{closed}, {against_plan((row['closed'] - date.fromisoformat(row['end_date'])).days)}"


def _order(row: Row) -> tuple[bool, bool, float, str]:
    """Those under way first, the most behind on top; those too early to say after them."""
    at = row["outlook"].forecast if row["outlook"] else None
    days = at.late_days if at else None
    is_late = at is not None and at.is_late
    late = math.inf if days is None and is_late else -math.inf if days is None else days
    return row["status"] != "in_progress", not is_late, -late, row["project_id"]


async def _or_nothing(read: Awaitable[dict[str, T]]) -> dict[str, T]:
    """What is read; nothing where it is unavailable."""
    try:
        return await read
    except FunctionError:
        return {}


async def closing_days(ask: Ask) -> dict[str, date]:
    """The day on which a cycle closed each sprint, by its id, as far as is on record."""
    runs = await ask.runs("cycle-trigger", outcome="ok", answers="true", limit=CYCLES)
    found = {}
    for cycle in emitted(runs, CycleCompleted.type):
        if cycle["closed_sprint_id"] and (at := instant(cycle["ended_at"])):
            found[cycle["closed_sprint_id"]] = at.date()
    return found


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
