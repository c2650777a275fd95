"""Sample data: eleven projects, employees, holidays, a finished sprint and a half done one.

Both sprints began some days ago, and the chronicle has a daily report of each working day since.

Everything is made by HTTP under keys that never change, so a creation that was interrupted goes on
where it was, two at once make one set, and what is there already stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from functions.dsm.project_orchestrator import history, tables
from functions.dsm_client import dsm
from functions.events.sprint import Sprint
from functions.kit.clients import derived_key, path
from functions.kit.context import Context
from functions.kit.errors import Conflict

Row = dict[str, Any]

PROJECTS = {
    "TEST-001": "Test project",
    "PHE001": "Phoenix",
    "ORI002": "Orion",
    "AEG003": "Aegis",
    "SEN004": "Sentinel",
    "NEX005": "Nexus",
    "CHR006": "Chronos",
    "TIT007": "Titan",
    "VOY008": "Voyager",
    "APO009": "Apollo",
    "ZEP010": "Zephyr",
}
FINISHED, HALF_DONE = "PHE001", "ORI002"
TEAMS = {FINISHED: range(1, 11), HALF_DONE: range(11, 16), "TEST-001": range(1, 4)}
# fmt: off
_NAMES = (
    "Noah Park", "Ada Lind", "Ivan Petrov", "Mia Chen", "Omar Haddad",
    "Lena Vogel", "Raj Patel", "Zoe Martin", "Tom Byrne", "Nia Okafor",
    "Luis Ortega", "Eva Novak", "Kofi Mensah", "Yuki Tanaka", "Ben Adler",
    "Sara Rossi", "Finn Olsen", "Leila Amiri", "Hugo Silva", "Anna Kowalska",
)
# fmt: on
_STATES = ("ND", "TX", "CA", "NY", "WA", "IL", "GA", "CO", "OH", "MN")
# Federal holidays of the United States, on the weekday on which they are observed.
_HOLIDAYS = {
    "New Year's Day": ("2025-01-01", "2026-01-01"),
    "Martin Luther King Jr. Day": ("2025-01-20", "2026-01-19"),
    "Washington's Birthday": ("2025-02-17", "2026-02-16"),
    "Memorial Day": ("2025-05-26", "2026-05-25"),
    "Juneteenth": ("2025-06-19", "2026-06-19"),
    "Independence Day": ("2025-07-04", "2026-07-03"),
    "Labor Day": ("2025-09-01", "2026-09-07"),
    "Columbus Day": ("2025-10-13", "2026-10-12"),
    "Veterans Day": ("2025-11-11", "2026-11-11"),
    "Thanksgiving Day": ("2025-11-27", "2026-11-26"),
    "Christmas Day": ("2025-12-25", "2026-12-25"),
}


async def create(ctx: Context) -> Row:
    """Create what is missing; returns what it was."""
    async with ctx.store.connection() as connection:
        if await tables.has_sample(connection, "sample"):
            return {"created": False, "message": "The sample data is there; nothing was changed"}
    await _employees(ctx)
    finished = await _sprint(ctx, FINISHED, 13, lambda n: 100)
    half_done = await _sprint(ctx, HALF_DONE, 6, lambda n: (100, 60, 25, 0)[n % 4])
    async with ctx.store.connection() as connection:
        await tables.mark_sample(connection, "sample")
    return {
        "created": True,
        "message": f"Created {len(PROJECTS)} projects and {len(_NAMES)} employees",
        "finished_sprint": finished,
        "sprint_in_progress": half_done,
    }


async def _employees(ctx: Context) -> None:
    projects = dsm(ctx).projects
    for project_id, name in PROJECTS.items():
        body = {"id": project_id, "name": name, "description": name, "status": "inactive"}
        await _add(ctx, "/projects", body)
    for n, name in enumerate(_NAMES, 1):
        await _add(
            ctx,
            "/employees",
            {
                "id": f"E{n:03d}",
                "name": name,
                "gender": "Male" if n % 2 else "Female",
                "state": _STATES[n % len(_STATES)],
                "age": 22 + n * 7 % 39,
            },
        )
    for project_id, numbers in TEAMS.items():
        at = path("projects", project_id, "team-members-assign")
        members = {"employee_ids": [f"E{n:03d}" for n in numbers]}
        await projects.post(at, Row, key=_key("team", project_id), body=members)
    holidays = [
        {"holiday_date": day, "holiday_name": name, "type": "federal"}
        for name, days in _HOLIDAYS.items()
        for day in days
    ]
    await projects.put("/calendar/holidays", Row, {"holidays": holidays})


async def _add(ctx: Context, at: str, body: Row) -> None:
    # A user may have made one of that id: it stays as it is.
    with suppress(Conflict):
        await dsm(ctx).projects.post(at, Row, key=_key(at, body["id"]), body=body)


async def _backlog(ctx: Context, project_id: str) -> None:
    await dsm(ctx).backlogs.generate(project_id, key=_key("backlog", project_id))


async def _sprint(
    ctx: Context, project_id: str, began_days_ago: int, progress: Callable[[int], int]
) -> str:
    """A project's sprint with ten tasks, each of them `progress(n)` percent done, and its days."""
    sprint = await _started(ctx, project_id, began_days_ago)
    sprints = dsm(ctx).sprints
    tasks = sorted(await sprints.tasks(sprint.sprint_id), key=lambda task: task.task_id)
    done = {task.task_id: progress(n) for n, task in enumerate(tasks)}
    moves = [{"task_id": id, "progress_made": made} for id, made in done.items()]
    at = path("sprints", sprint.sprint_id, "progress")
    await sprints.post(at, Row, key=_key("progress", project_id), body={"moves": moves})
    assert sprint.start_date is not None, "a sprint that was started has its first day"
    for day, report in history.reports(sprint, tasks, done, len(TEAMS[project_id]), ctx.now()):
        key = _key("report", sprint.sprint_id, str(day))
        await dsm(ctx).chronicle.file_daily_report(report, key=key)
    return sprint.sprint_id


async def _started(ctx: Context, project_id: str, began_days_ago: int) -> Sprint:
    """The sprint, started now, or by a creation that was interrupted, be it on another day."""
    name = f"{PROJECTS[project_id]}, first sprint"
    sprints = dsm(ctx).sprints
    for sprint in await sprints.of(project_id):
        if sprint.sprint_name == name:
            return sprint
    await _backlog(ctx, project_id)
    body = {
        "sprint_name": name,
        "duration_weeks": 2,
        "max_tasks_per_sprint": 10,
        "start_date": str(ctx.now().date() - timedelta(days=began_days_ago)),
    }
    made = await sprints.post(
        path("sprints", project_id), Row, key=_key("sprint", project_id), body=body
    )
    return (await sprints.detail(str(made["sprint_id"]))).sprint


def _key(*parts: str) -> str:
    return derived_key("sample-data", *parts)
