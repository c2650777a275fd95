"""One sprint: its burndown, its flow, its team, and its tasks that do not move."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from starlette.routing import Route

from functions.console.ask import Ask, Row
from functions.console.formatting import count
from functions.console.names import employee_names
from functions.console.pages import Page
from functions.console.panels import Panel, Query
from functions.console.plots.plot import line_plot
from functions.console.sprints.burndown import burndown, day_label
from functions.console.sprints.sprints import (
    detail_of,
    history_of,
    mean_progress,
    newest_note,
    notes,
    progress,
    sprint_name,
    status,
)
from functions.events.sprint import Task
from functions.kit.errors import FunctionError

# Reports in a row in which an open task did not move.
STALE_REPORTS = 3
NO_IMPEDIMENT = ("", "None reported.")


async def flow(ask: Ask, query: Query) -> Mapping[str, Any]:
    """How many tasks were done, begun and not begun on each reported day."""
    days = flow_of(await history_of(ask, query["sprint_id"]))
    if not days:
        return {"days": []}
    title = f"Cumulative flow of {query['sprint_id']}"
    plot = line_plot(
        [day_label(day["date"]) for day in days],
        {name: [day[name] for day in days] for name in ("done", "begun", "to do")},
        title,
        y_title="tasks",
        stacked=True,
    )
    return {"days": days, "plot": plot, "title": title}


def flow_of(history: Sequence[Row]) -> list[Row]:
    """Each reported day's tasks by state.

    >>> flow_of([{"date": "2026-03-02", "progress": {"1": 100, "2": 40, "3": 0}}])[0]["begun"]
    1
    """
    rows = []
    for day in history:
        if not day["progress"]:
            continue
        reported = list(day["progress"].values())
        done, idle = sum(p == 100 for p in reported), sum(p == 0 for p in reported)
        rows.append(
            {
                "date": date.fromisoformat(day["date"]),
                "done": done,
                "begun": len(reported) - done - idle,
                "to do": idle,
            }
        )
    return rows


async def members(ask: Ask, query: Query) -> Mapping[str, Any]:
    """Progress per team member and its change by the last report, the most open work first."""
    sprint_id = query["sprint_id"]
    detail, names, reported = await asyncio.gather(
        detail_of(ask, sprint_id), employee_names(ask), _last_two_reports(ask, sprint_id)
    )
    return {
        "members": members_of(detail.tasks, names, [day["progress"] for day in reported]),
        "reported": [date.fromisoformat(day["date"]) for day in reported],
    }


async def _last_two_reports(ask: Ask, sprint_id: str) -> list[Row]:
    """Those with the progress of each task, the earlier one first; none where they are unknown."""
    try:
        history = await history_of(ask, sprint_id)
    except FunctionError:
        return []
    return [day for day in history if day["progress"]][-2:]


def members_of(
    tasks: Sequence[Task], names: Mapping[str, str], reported: Sequence[Mapping[str, int]] = ()
) -> list[Row]:
    """Each team member's tasks: how many, how many are done, and their mean progress in percent.

    `change` is that mean's between the last two reports, in percentage points; None without two.
    """
    by_member: dict[str, list[Task]] = {}
    for task in tasks:
        by_member.setdefault(task.assigned_to or "", []).append(task)
    rows = [
        {
            "name": names.get(id, id) or "unassigned",
            "total": len(own),
            "done": sum(task.progress_percentage == 100 for task in own),
            "progress": mean_progress(own),
            "change": change_of(own, *reported) if len(reported) == 2 else None,
        }
        for id, own in by_member.items()
    ]
    return sorted(rows, key=lambda row: (row["done"] - row["total"], row["name"]))


def change_of(tasks: Sequence[Task], before: Mapping[str, int], last: Mapping[str, int]) -> int:
    """By how many percentage points the mean progress of tasks changed; a new task began at 0."""
    moved = sum(last.get(task.task_id, 0) - before.get(task.task_id, 0) for task in tasks)
    return round(moved / len(tasks))


async def stuck(ask: Ask, query: Query) -> Mapping[str, Any]:
    """Open tasks that are blocked or stale, each with why."""
    sprint_id = query["sprint_id"]
    detail, history, note, names = await asyncio.gather(
        detail_of(ask, sprint_id),
        history_of(ask, sprint_id),
        newest_note(ask, sprint_id),
        employee_names(ask),
    )
    reported = [day["progress"] for day in history if day["progress"]]
    blocked = impediments(note)
    rows: list[Row] = []
    for task in detail.tasks:
        if task.progress_percentage == 100:
            continue
        row = {"task": task, "who": names.get(task.assigned_to or "", task.assigned_to)}
        still = unmoved(task.task_id, reported)
        if why := blocked.get(task.task_id):
            rows.append(row | {"state": "blocked", "why": why})
        elif still >= STALE_REPORTS:
            why = f"did not move in {count(still, 'report')}, at {task.progress_percentage} %"
            rows.append(row | {"state": "stale", "why": why})
    rows.sort(key=lambda row: (row["state"], row["task"].task_id))
    return {"tasks": rows, "reports": STALE_REPORTS, "known": len(reported)}


def unmoved(task_id: str, reported: Sequence[Mapping[str, int]]) -> int:
    """In how many of the last reports a task had the progress of the report before them.

    >>> unmoved("1", [{"1": 20}, {"1": 40}, {"1": 40}, {"1": 40}])
    2
    """
    values = [day.get(task_id) for day in reported]
    number = 0
    for earlier, later in zip(reversed(values[:-1]), reversed(values[1:]), strict=True):
        if later is None or earlier != later:
            break
        number += 1
    return number


def impediments(note: Row | None) -> dict[str, str]:
    """What the newest report names as impediment, by task."""
    entries = [entry for day in (note or {}).get("reports", {}).values() for entry in day]
    return {
        task["id"]: task["impediments"]
        for entry in entries
        for task in entry["tasks"]
        if (task.get("impediments") or "") not in NO_IMPEDIMENT
    }


def routes() -> list[Route]:
    return Page(
        "/sprints/{sprint_id}",
        "{sprint_id}",
        [
            Panel("burndown", "Burndown", burndown, live_s=30),
            Panel("sprint", "Status", status, live_s=30),
            Panel("stuck", "Blocked and stale tasks", stuck, live_s=30),
            Panel("members", "Progress per team member", members, live_s=30),
            Panel("flow", "Cumulative flow", flow, live_s=30),
            Panel("progress", "Progress per task", progress, live_s=30),
            Panel("notes", "Daily notes", notes),
        ],
        parent=("/sprints", "Sprints"),
        exists=sprint_name,
    ).routes()
