"""What a daily report says: pure."""

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
NO_DAY = date(1970, 1, 1)  # nobody has reported on it


def note_key(event: SprintSimulated) -> str:
    """What makes two reports the same: the sprint and the day."""
    return f"daily:{event.sprint_id}:{event.scrum_date}"


def report(
    event: SprintSimulated, tasks: Sequence[Task], summary: TaskSummary, team: Sequence[Member]
) -> Report:
    """Every task under who works on it, each with the instant that it moved."""
    moved = {task.task_id: task for task in event.moved}

    def entry(task: Task) -> dict[str, str | int]:
        # A late retry reports the day that was, not how the task stands by now.
        change = moved.get(task.task_id)
        progress = change.progress if change else task.progress_percentage
        return told(task, progress, change.moved_at if change else event.simulated_at)

    ordered = sorted(tasks, key=lambda task: (task.assigned_to or UNASSIGNED, task.task_id))
    people = [
        {"assigned_to": person, "tasks": [entry(task) for task in theirs]}
        for person, theirs in groupby(ordered, lambda task: task.assigned_to or UNASSIGNED)
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
        "reports": {str(event.scrum_date): people},
    }


def note_of(found: Report) -> str:
    """The id of the note that a filed report was read from.

    >>> note_of({"note_ids": ["7"], "reports": {}}), note_of({"reports": {}})
    ('7', 'unnamed')
    """
    return next(map(str, found.get("note_ids") or ()), UNNAMED)


def told(task: Task, progress: int, at: datetime) -> dict[str, str | int]:
    """One task in the words of a stand-up.

    >>> task = Task(task_id="T1", title="Dig", status="in_progress", progress_percentage=20)
    >>> told(task, 20, datetime(2025, 8, 30))["yesterday_work"]
    "Worked on task: 'Dig', currently 20% complete."
    """
    if progress >= 100:
        said = (f"Completed task: '{task.title}'.", "No further work on this task.")
    elif progress > 0:
        said = (
            f"Worked on task: '{task.title}', currently {progress}% complete.",
            f"Continuing work on task: '{task.title}'.",
        )
    else:
        said = (f"No progress on task: '{task.title}'.", f"Starting work on task: '{task.title}'.")
    return {
        "id": task.task_id,
        "yesterday_work": said[0],
        "today_work": said[1],
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
