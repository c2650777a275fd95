"""Which sprints have a scrum on which day, and what moved: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from functions.events.schedule import ScheduleDue
from functions.events.scrum import (
    ScrumRequested,
    ScrumRun,
    SprintSimulated,
    TaskMoved,
    TaskUpdate,
)
from functions.events.sprint import ProjectSprints, Sprint, Task, newest_active

# A plan, and what came of a day, as they are kept between retries.
PlanJson = dict[str, Any]
DayJson = dict[str, Any]
Progress = Mapping[str, int]  # task id to percent


@dataclass(frozen=True)
class Chosen:
    """A sprint to simulate."""

    project_id: str
    sprint_id: str


@dataclass(frozen=True)
class Plan:
    """The day, in UTC, the sprints, and what was listed but could not be read."""

    scrum_date: date
    sprints: tuple[Chosen, ...]
    unreadable: tuple[str, ...]


def plan(
    event: ScheduleDue | ScrumRequested,
    sprints: Sequence[Sprint],
    unreadable: Sequence[str],
    now: datetime,
) -> PlanJson:
    chosen = [{"project_id": s.project_id, "sprint_id": s.sprint_id} for s in sprints]
    return {
        "scrum_date": str(day_of(event, now)),
        "sprints": chosen,
        "unreadable": list(unreadable),
    }


def planned(kept: PlanJson) -> Plan:
    return Plan(
        date.fromisoformat(kept["scrum_date"]),
        tuple(Chosen(**s) for s in kept["sprints"]),
        tuple(kept.get("unreadable", ())),
    )


def day_of(event: ScheduleDue | ScrumRequested, now: datetime) -> date:
    """The day in UTC that a schedule was due, its nominal time, or that was asked for, or today."""
    if isinstance(event, ScheduleDue):
        return event.nominal.astimezone(UTC).date()
    return event.scrum_date or now.astimezone(UTC).date()


def active_sprints(projects: Sequence[ProjectSprints]) -> list[Sprint]:
    """Each project's sprint in progress, the newest where there are several."""
    newest = (newest_active(project.sprints) for project in projects)
    return [sprint for sprint in newest if sprint is not None]


def day_key(sprint_id: str, on: date) -> str:
    """What makes two simulations the same."""
    return f"scrum:{sprint_id}:{on}"


def over(status: object) -> bool:
    """Is a sprint of this status one that no day is simulated of, readable or not?

    >>> over("completed"), over("in_progress"), over(None)
    (True, False, False)
    """
    return isinstance(status, str) and status != "in_progress"


def progress_of(tasks: Sequence[Task]) -> dict[str, int]:
    return {task.task_id: task.progress_percentage for task in tasks}


def answered(run: ScrumRun, at: datetime) -> list[TaskMoved]:
    """What moved by the service's answer; `ValueError` where that is unreadable.

    A task that carries no instant of its own moved `at`.
    """
    return [_moved(update, at) for update in run.updates]


def between(before: Progress, after: Progress, at: datetime) -> list[TaskMoved]:
    """What moved by the progress of the tasks.

    >>> [(t.task_id, t.progress_made) for t in between({"1": 20, "2": 5}, {"1": 50, "2": 5},
    ...     datetime(2026, 3, 2))]
    [('1', 30)]
    """
    return [
        TaskMoved(
            task_id=task_id,
            progress_made=progress - before[task_id],
            progress=progress,
            moved_at=at,
        )
        for task_id, progress in after.items()
        if progress > before.get(task_id, progress)
    ]


def day(before: Progress, moved: Sequence[TaskMoved], at: datetime, *warnings: str) -> DayJson:
    """A simulated day as it is kept; it warns where nothing moved although there is work.

    >>> day({"1": 20, "2": 100}, [], datetime(2026, 3, 2))["warnings"]
    ['Nothing moved although 1 of 2 tasks are not done.']
    """
    all_warnings, left = list(warnings), sum(progress < 100 for progress in before.values())
    if left and not moved:
        all_warnings.append(f"Nothing moved although {left} of {len(before)} tasks are not done.")
    shown = [task.model_dump(mode="json") for task in moved]
    return {"moved": shown, "at": at.isoformat(), "warnings": all_warnings}


def simulated(sprint: Chosen, on: date, kept: DayJson) -> SprintSimulated:
    """The day as an event."""
    moved = [TaskMoved.model_validate(task) for task in kept["moved"]]
    at = datetime.fromisoformat(kept["at"])
    return SprintSimulated(
        project_id=sprint.project_id,
        sprint_id=sprint.sprint_id,
        scrum_date=on,
        simulated_at=max((task.moved_at for task in moved), default=at),
        moved=moved,
        warnings=kept["warnings"],
    )


def percent(text: str) -> int:
    """Percent as daily-scrum-service writes it; `ValueError` for anything else.

    >>> percent("20%")
    20
    """
    number = text.strip().removesuffix("%")
    if not number.isdecimal() or int(number) > 100:
        raise ValueError(f"daily-scrum-service: {text!r} is no percentage such as 20%")
    return int(number)


def _moved(update: TaskUpdate, now: datetime) -> TaskMoved:
    return TaskMoved(
        task_id=update.task_id,
        progress_made=percent(update.progress_made),
        progress=percent(update.new_status),
        moved_at=update.created_at or now,
    )
