"""What a simulated working day does to tasks. Pure: the draws are handed in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

MIN, MAX = 5, 35


def active(tasks: Iterable[Mapping[str, Any]]) -> list[str]:
    """The ids of tasks that are not done, in order.

    >>> active([{"task_id": "1", "progress_percentage": 100, "status": "in_progress"},
    ...         {"task_id": "2", "progress_percentage": 99, "status": "completed"}])
    ['2']
    """
    return sorted(t["task_id"] for t in tasks if t["progress_percentage"] < 100)


def moves(task_ids: Iterable[str], draw: Callable[[int, int], int]) -> list[dict[str, Any]]:
    """A move of 5 to 35 percent for each task.

    >>> moves(["1"], lambda min_, max_: max_)
    [{'task_id': '1', 'progress_made': 35}]
    """
    return [{"task_id": task_id, "progress_made": draw(MIN, MAX)} for task_id in task_ids]
