"""One project: its velocity over its sprints, and the cycles that began them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.routing import Route

from functions.console.ask import Ask, Row
from functions.console.names import all_projects
from functions.console.pages import Page
from functions.console.panels import Panel, Query
from functions.console.plots.plot import line_plot
from functions.console.runs import emitted
from functions.events.cycle import CycleCompleted
from functions.events.sprint import Sprint, TaskSummary
from functions.kit.errors import NotFound

SPRINTS = 12  # the latest ones
CYCLES = 20
IN_PROGRESS = "in_progress"


async def velocity(ask: Ask, query: Query) -> Mapping[str, Any]:
    """The tasks that each sprint planned and completed, the oldest first."""
    project_id = query["project_id"]
    latest = (await _sprints(ask, project_id))[:SPRINTS][::-1]
    counts = await asyncio.gather(*(_summary(ask, sprint.sprint_id) for sprint in latest))
    rows: list[Row] = [
        {"sprint": sprint, "planned": one.total_tasks, "completed": one.completed_tasks}
        for sprint, one in zip(latest, counts, strict=True)
    ]
    if not rows:
        return {"sprints": []}
    title = f"Velocity of {project_id}, in completed tasks per sprint"
    plot = line_plot(
        [row["sprint"].sprint_id for row in rows],
        {
            "planned": [row["planned"] for row in rows],
            # One that is under way has no velocity yet.
            "completed": [
                row["completed"] if row["sprint"].status != IN_PROGRESS else None for row in rows
            ],
        },
        title,
        y_title="tasks",
    )
    return {"sprints": rows[::-1], "plot": plot, "title": title, "mean": mean_velocity(rows)}


def mean_velocity(rows: Sequence[Row]) -> float | None:
    """Completed tasks per closed sprint; None where none is closed."""
    closed = [row["completed"] for row in rows if row["sprint"].status != IN_PROGRESS]
    return round(sum(closed) / len(closed), 1) if closed else None


async def _sprints(ask: Ask, project_id: str) -> list[Sprint]:
    """A project's sprints, the latest first."""
    client = ask.services.sprints
    found: list[Sprint] = await ask.within(
        client.name, ("sprints of", project_id), lambda: client.of(project_id)
    )
    return sorted(found, key=lambda sprint: str(sprint.start_date or ""), reverse=True)


async def _summary(ask: Ask, sprint_id: str) -> TaskSummary:
    client = ask.services.sprints
    found: TaskSummary = await ask.within(
        client.name, ("summary", sprint_id), lambda: client.summary(sprint_id)
    )
    return found


async def cycle_history(ask: Ask, query: Query) -> Mapping[str, Any]:
    """The project's cycles on record, the latest first."""
    runs = await ask.runs("cycle-trigger", outcome="ok", answers="true", limit=1000)
    mine = [
        cycle
        for cycle in emitted(runs, CycleCompleted.type)
        if cycle["project_id"] == query["project_id"]
    ]
    return {"cycles": mine[:CYCLES]}


async def project_name(ask: Ask, query: Query) -> str:
    """`NotFound` where project-service knows no such project, and it has no sprint."""
    project_id = query["project_id"]
    sprints, names = await asyncio.gather(_sprints(ask, project_id), all_projects(ask))
    if not sprints and project_id not in names:
        raise NotFound(f"There is no project {project_id}.")
    return names.get(project_id, "")


def routes() -> list[Route]:
    return Page(
        "/projects/{project_id}",
        "Project {project_id}",
        [
            Panel("velocity", "Velocity", velocity, live_s=30),
            Panel("cycle_history", "Cycles", cycle_history, live_s=30),
        ],
        parent=("/sprints", "Sprints"),
        exists=project_name,
    ).routes()
