"""The days of a sprint of the sample data, as daily reports have them: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any

from functions.events.sprint import Sprint, Task

Report = dict[str, Any]


def reports(
    sprint: Sprint, tasks: Sequence[Task], done: Mapping[str, int], team: int, now: datetime
) -> Iterator[tuple[date, Report]]:
    """A report for each working day from the sprint's first until yesterday.

    `done` is each task's progress by now, in percent.
    """
    days = list(working_days(sprint.start_date or now.date(), now.date()))
    for number, day in enumerate(days, 1):
        by_task = {
            task.task_id: progress(number / len(days), n / len(tasks), done[task.task_id])
            for n, task in enumerate(tasks)
        }
        at = datetime(day.year, day.month, day.day, 14, tzinfo=now.tzinfo)
        yield day, report(sprint, tasks, by_task, team, at)


def working_days(first: date, end: date) -> Iterator[date]:
    """Monday to Friday, without `end`.

    >>> [str(day) for day in working_days(date(2026, 2, 27), date(2026, 3, 3))]
    ['2026-02-27', '2026-03-02']
    """
    for number in range((end - first).days):
        day = first + timedelta(days=number)
        if day.weekday() < 5:
            yield day


def progress(share: float, order: float, max_: int) -> int:
    """A task's progress when `share` of the days was over; one task is begun after the other.

    >>> [progress(share, 0.5, 100) for share in (0.2, 0.5, 1.0)]
    [0, 40, 100]
    """
    begun = order / 2
    part = max(0.0, (share - begun) / (1 - begun))
    return min(max_, round(part * max_ * 1.2 / 10) * 10) if share < 1 else max_


def report(
    sprint: Sprint, tasks: Sequence[Task], by_task: Mapping[str, int], team: int, at: datetime
) -> Report:
    """The report of one day, as chronicle-service takes it."""
    completed = sum(percent == 100 for percent in by_task.values())
    ordered = sorted(tasks, key=lambda task: (task.assigned_to or "", task.task_id))
    return {
        "project_id": sprint.project_id,
        "sprint_id": sprint.sprint_id,
        "report_date": str(at.date()),
        "summary": f"Daily stand-up for sprint {sprint.sprint_id}.",
        "summary_metrics": {
            "total_team_members": team,
            "total_tasks": len(tasks),
            "completed_tasks": completed,
            "pending_tasks": len(tasks) - completed,
        },
        "reports": {
            str(at.date()): [
                {
                    "assigned_to": who,
                    "tasks": [_entry(task, by_task[task.task_id], at) for task in of],
                }
                for who, of in groupby(ordered, lambda task: task.assigned_to)
            ]
        },
    }


def _entry(task: Task, percent: int, at: datetime) -> dict[str, str | int]:
    return {
        "id": task.task_id,
        "yesterday_work": f"'{task.title}' is {percent}% complete.",
        "today_work": "Nothing more to do." if percent == 100 else f"Going on with '{task.title}'.",
        "impediments": "None reported.",
        "progress_percentage": percent,
        "created_at": at.isoformat(),
    }
