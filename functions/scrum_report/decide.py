"""The content of a daily report: pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from itertools import groupby
from typing import Any

from functions.events.scrum import ScrumReported, SprintSimulated
from functions.events.sprint import Member, Task, TaskSummary

# The JSON that chronicle-service takes.
Report = dict[str, Any]

UNASSIGNED = "unassigned"
UNNAMED = "unnamed"  # a note that is filed in a chronicle that shows no ids of reports
NO_DAY = date(1970, 1, 1)  # no report is of it


def note_key(event: SprintSimulated) -> str:
    """What makes two reports the same: the sprint and the day."""
    return f"daily:{event.sprint_id}:{event.scrum_date}"


def report(
    event: SprintSimulated, tasks: Sequence[Task], summary: TaskSummary, team: Sequence[Member]
) -> Report:
    """Every task under its assignee, each with the instant that it moved."""
    moved = {task.task_id: task for task in event.moved}

    def entry(task: Task) -> dict[str, str | int]:
        # A late retry reports the day that was, not how the task stands by now.
        change = moved.get(task.task_id)
        progress = change.progress if change else task.progress_percentage
        return stand_up(task, progress, change.moved_at if change else event.simulated_at)

    ordered = sorted(tasks, key=lambda task: (task.assigned_to or UNASSIGNED, task.task_id))
    by_employee = [
        {"assigned_to": employee, "tasks": [entry(task) for task in theirs]}
        for employee, theirs in groupby(ordered, lambda task: task.assigned_to or UNASSIGNED)
    ]
    return {
        "project_id": event.project_id,
        "sprint_id": event.sprint_id,
        "report_date": str(event.scrum_date),
        "summary": " ".join(
            [
                f"Daily stand-up for sprint {event.sprint_id}.",
                f"{len(moved)} tasks had progress simulated.",
                *event.warnings,
            ]
        ),
        "summary_metrics": {
            "total_team_members": len(team),
            "total_tasks": summary.total_tasks,
            "completed_tasks": summary.completed_tasks,
            "pending_tasks": summary.pending_tasks,
        },
        "reports": {str(event.scrum_date): by_employee},
    }


def note_of(found: Report) -> str:
    """The id of the note that a filed report was read from.

    >>> note_of({"note_ids": ["7"], "reports": {}}), note_of({"reports": {}})
    ('7', 'unnamed')
    """
    return next(map(str, found.get("note_ids") or ()), UNNAMED)


def stand_up(task: Task, progress: int, at: datetime) -> dict[str, str | int]:
    """One task as a stand-up describes it.

    >>> task = Task(task_id="T1", title="Dig", status="in_progress", progress_percentage=20)
    >>> stand_up(task, 20, datetime(2025, 8, 30))["yesterday_work"]
    "Worked on task: 'Dig', currently 20% complete."
    """
    if progress >= 100:
        texts = (f"Completed task: '{task.title}'.", "No further work on this task.")
    elif progress > 0:
        texts = (
            f"Worked on task: '{task.title}', currently {progress}% complete.",
            f"Continuing work on task: '{task.title}'.",
        )
    else:
        texts = (f"No progress on task: '{task.title}'.", f"Starting work on task: '{task.title}'.")
    return {
        "id": task.task_id,
        "yesterday_work": texts[0],
        "today_work": texts[1],
        "impediments": "None reported.",
        "progress_percentage": progress,
        "created_at": at.isoformat(),
    }


def filed(event: SprintSimulated, report: Report, note_id: str) -> ScrumReported:
    metrics = report["summary_metrics"]
    return ScrumReported(
        project_id=event.project_id,
        sprint_id=event.sprint_id,
        scrum_date=event.scrum_date,
        note_id=note_id,
        total_tasks=metrics["total_tasks"],
        completed_tasks=metrics["completed_tasks"],
        moved_tasks=len(event.moved),
        warnings=event.warnings,
    )
