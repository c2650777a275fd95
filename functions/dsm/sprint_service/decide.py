"""What becomes of tasks when a sprint starts, moves and ends. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

Task = dict[str, Any]


def sprint_id(project_id: str, earlier: int) -> str:
    """The id of a project's next sprint after `earlier` ones.

    >>> sprint_id("GEM-001", 0)
    'GEM-001-S01'
    """
    return f"{project_id}-S{earlier + 1:02d}"


def end_date(start: date, weeks: int) -> date:
    """
    >>> end_date(date(2026, 3, 2), 2)
    datetime.date(2026, 3, 16)
    """
    return start + timedelta(weeks=weeks)


def chosen(backlog: Sequence[Mapping[str, Any]], max_tasks: int | None) -> list[Mapping[str, Any]]:
    """The tasks that enter a sprint: those without one, oldest first, up to `max_tasks`.

    >>> tasks = [{"task_id": "1"}, {"task_id": "2", "sprint_id": "S"}, {"task_id": "3"}]
    >>> [t["task_id"] for t in chosen(tasks, 1)]
    ['1']
    >>> [t["task_id"] for t in chosen(tasks, None)]
    ['1', '3']
    """
    free = [task for task in backlog if task.get("sprint_id") is None]
    return free if max_tasks is None else free[:max_tasks]


def started(tasks: Sequence[Mapping[str, Any]], members: Sequence[str]) -> list[Task]:
    """How tasks enter a sprint: with the progress they have, each to its assignee or in turn.

    >>> tasks = [{"task_id": "1", "title": "a"}, {"task_id": "2", "title": "b"}]
    >>> [t["assigned_to"] for t in started(tasks, ["E001"])]
    ['E001', 'E001']
    >>> started(tasks, [])[0]["assigned_to"] is None
    True
    """
    turn = [members[n % len(members)] if members else None for n, _ in enumerate(tasks)]
    return [
        {
            "task_id": task["task_id"],
            "title": task["title"],
            "status": "assigned_to_sprint",
            "progress_percentage": task.get("progress_percentage") or 0,
            "assigned_to": task.get("assigned_to") or member,
        }
        for task, member in zip(tasks, turn, strict=True)
    ]


def status_at(progress: int) -> str:
    """A task's status once it has moved.

    >>> status_at(99), status_at(100)
    ('in_progress', 'completed')
    """
    return "completed" if progress >= 100 else "in_progress"


def closed(tasks: Sequence[Task]) -> tuple[str, list[Task], list[Task]]:
    """A sprint's last status, its finished tasks, and the unfinished as the backlog gets them.

    >>> closed([{"task_id": "1", "progress_percentage": 99, "status": "in_progress"}])
    ... # doctest: +NORMALIZE_WHITESPACE
    ('closed_with_pending_tasks', [],
     [{'task_id': '1', 'progress_percentage': 99, 'status': 'unassigned', 'sprint_id': None}])
    """
    finished = [t | {"status": "completed"} for t in tasks if t["progress_percentage"] >= 100]
    unfinished = [
        t | {"status": "unassigned", "sprint_id": None}
        for t in tasks
        if t["progress_percentage"] < 100
    ]
    return "closed_with_pending_tasks" if unfinished else "completed", finished, unfinished
