"""The writes of sprint-service: each is one transaction with the messages to others."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import uuid4

from functions.dsm.sprint_service import decide, outgoing, tables
from functions.dsm_client import dsm
from functions.events.sprint import SprintStarted
from functions.events.task import TaskUpdated
from functions.kit.clients import path
from functions.kit.context import Context
from functions.kit.durable import Connection
from functions.kit.errors import Conflict, NotFound

Row = dict[str, Any]


@dataclass(frozen=True)
class Found:
    """What other services know of a project: its team, and the unassigned tasks of its backlog."""

    members: Sequence[str] = ()
    backlog: Sequence[Row] = ()


async def find(ctx: Context, project_id: str) -> Found:
    """Ask for what a new sprint needs."""
    members, backlog = await asyncio.gather(_team(ctx, project_id), _unassigned(ctx, project_id))
    return Found(members, backlog)


async def start(
    tx: Connection,
    out: outgoing.Outgoing,
    project_id: str,
    asked: Mapping[str, Any],
    found: Found,
    today: date,
) -> Row:
    """Start a project's next sprint with unassigned tasks of its backlog.

    A task that another sprint took since it was found is a `Conflict`.
    """
    await tables.lock_project(tx, project_id)
    running = await tables.active(tx, project_id)
    if running is not None:
        raise Conflict(f"Sprint {running} is in progress for project {project_id}")
    chosen = decide.chosen(found.backlog, asked["max_tasks_per_sprint"])
    if not chosen:
        raise Conflict(f"No unassigned tasks in the backlog of project {project_id}")
    tasks = decide.started(chosen, found.members)
    given = asked.get("start_date")
    first = date.fromisoformat(given) if given else today
    sprint = {
        "sprint_id": decide.sprint_id(project_id, await tables.count(tx, project_id)),
        "project_id": project_id,
        "sprint_name": asked["sprint_name"],
        "start_date": first,
        "end_date": decide.end_date(first, asked["duration_weeks"]),
        "duration_weeks": asked["duration_weeks"],
        "status": "in_progress",
    }
    sprint_id = sprint["sprint_id"]
    await tables.start(tx, sprint, tasks)
    at = await tables.clock(tx, out.virtual_now)
    placed = [task | {"sprint_id": sprint_id} for task in tasks]
    ids = [task["task_id"] for task in tasks]
    facts = [
        SprintStarted.model_validate(sprint | {"task_ids": ids}),
        *_updates(project_id, placed, at),
    ]
    planning = {
        "project_id": project_id,
        "sprint_id": sprint_id,
        "sprint_goal": f"Complete the tasks of sprint {asked['sprint_name']}",
        "planned_tasks": ids,
    }
    calls = [
        outgoing.placements(project_id, at, placed),
        outgoing.note(outgoing.PLANNING, sprint_id, planning),
    ]
    await out.keep(tx, calls, outgoing.events(facts, at, out.request))
    return {
        "message": f"Sprint {sprint_id} started. Assigned {len(tasks)} tasks",
        "sprint_id": sprint_id,
        "assigned_tasks_count": len(tasks),
    }


async def move(
    tx: Connection, out: outgoing.Outgoing, sprint_id: str, made: Sequence[Mapping[str, Any]]
) -> Row:
    """Move tasks of a sprint in progress on, all or none; who is done already stays so."""
    sprint = await tables.sprint(tx, sprint_id, lock=True)
    if sprint["status"] != "in_progress":
        raise Conflict(f"Sprint {sprint_id} is not in progress but {sprint['status']}")
    tasks = {task["task_id"]: task for task in await tables.tasks(tx, sprint_id)}
    unknown = [m["task_id"] for m in made if m["task_id"] not in tasks]
    if unknown:
        raise NotFound(f"Not in sprint {sprint_id}: {', '.join(unknown)}")
    moved = []
    for one in made:
        task = tasks[one["task_id"]]
        before = task["progress_percentage"]
        if before >= 100:
            continue
        task["progress_percentage"] = min(100, before + one["progress_made"])
        task["status"] = decide.status_at(task["progress_percentage"])
        task["progress_made"] = task["progress_percentage"] - before
        task["updated_at"] = await tables.clock(tx, out.virtual_now)
        moved.append(task)
    await tables.set_tasks(tx, sprint_id, moved)
    await _announce(tx, out, sprint["project_id"], moved)
    fields = ("task_id", "progress_made", "progress_percentage", "status")
    updates = [
        {name: t[name] for name in fields} | {"updated_at": t["updated_at"].isoformat()}
        for t in moved
    ]
    return {"message": f"{len(moved)} tasks of sprint {sprint_id} moved", "updates": updates}


async def set_progress(
    tx: Connection, out: outgoing.Outgoing, task_id: str, status: str | None, progress: int | None
) -> Row:
    """Set where a task stands."""
    task = await tables.open_task(tx, task_id)
    if progress is not None:
        task["progress_percentage"] = progress
    if status is not None:
        task["status"] = status
    elif progress:
        task["status"] = decide.status_at(progress)
    at = await tables.clock(tx, out.virtual_now)
    await tables.set_tasks(tx, task["sprint_id"], [task])
    await _announce(tx, out, task["project_id"], [task | {"updated_at": at}])
    return {
        "message": f"Task {task_id} updated successfully",
        "task_id": task_id,
        "status": task["status"],
        "progress_percentage": task["progress_percentage"],
        "updated_at": at.isoformat(),
    }


async def close(tx: Connection, out: outgoing.Outgoing, sprint_id: str) -> Row:
    """End a sprint: its unfinished tasks go back to the backlog, its rows stay."""
    sprint = await tables.sprint(tx, sprint_id, lock=True)
    if sprint["status"] != "in_progress":
        raise Conflict(f"Sprint {sprint_id} is already closed: {sprint['status']}")
    tasks = await tables.tasks(tx, sprint_id)
    status, finished, unfinished = decide.closed(tasks)
    await tables.close(tx, sprint_id, status)
    at = await tables.clock(tx, out.virtual_now)
    project_id = sprint["project_id"]
    calls = [
        outgoing.placements(project_id, at, [*finished, *unfinished]),
        outgoing.note(
            outgoing.RETROSPECTIVE, sprint_id, _retrospective(sprint, tasks, len(unfinished))
        ),
    ]
    facts = outgoing.events(_updates(project_id, unfinished, at), at, out.request)
    await out.keep(tx, calls, facts)
    return {
        "message": f"Sprint {sprint_id} closed",
        "sprint_id": sprint_id,
        "status_updated_to": status,
        "completed_tasks_count": len(finished),
        "uncompleted_tasks_moved_to_backlog_count": len(unfinished),
    }


def new_request(key: str | None) -> str:
    """The name under which a request's messages are kept."""
    return key or str(uuid4())


def _retrospective(sprint: Row, tasks: Sequence[Row], pending: int) -> Row:
    done = len(tasks) - pending
    better = f"{pending} tasks went back to the backlog" if pending else "Nothing was left over"
    return {
        "sprint_id": sprint["sprint_id"],
        "project_id": sprint["project_id"],
        "sprint_name": sprint["sprint_name"],
        "start_date": sprint["start_date"].isoformat(),
        "end_date": sprint["end_date"].isoformat(),
        "duration_weeks": sprint["duration_weeks"],
        "what_went_well": f"{done} of {len(tasks)} tasks were completed",
        "what_could_be_improved": better,
        "action_items": [],
        "attendees": sorted({t["assigned_to"] for t in tasks if t["assigned_to"]}),
        "tasks_summary": [
            {
                "description": task["title"],
                "status": task["status"],
                "task_id": task["task_id"],
                "employee_id": task["assigned_to"],
                "progress_percentage": task["progress_percentage"],
            }
            for task in tasks
        ],
    }


async def _announce(
    tx: Connection, out: outgoing.Outgoing, project_id: str, moved: Sequence[Mapping[str, Any]]
) -> None:
    for task in moved:
        at = task["updated_at"]
        facts = outgoing.events(_updates(project_id, [task], at), at, out.request)
        await out.keep(tx, [], facts)


def _updates(
    project_id: str, tasks: Sequence[Mapping[str, Any]], at: datetime
) -> list[TaskUpdated]:
    return [
        TaskUpdated.model_validate({**task, "project_id": project_id, "updated_at": at})
        for task in tasks
    ]


async def _team(ctx: Context, project_id: str) -> list[str]:
    try:
        return [member.id for member in await dsm(ctx).projects.team(project_id)]
    except NotFound:
        raise NotFound(f"Project {project_id} not found") from None


async def _unassigned(ctx: Context, project_id: str) -> list[Row]:
    found: list[Row] = await dsm(ctx).backlogs.get(
        path("backlogs", project_id), list[Row], status="unassigned"
    )
    return found
