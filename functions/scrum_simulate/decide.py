"""Which sprints have a scrum on which day, and what moved: pure."""

from __future__ import annotations

from collections.abc import Sequence
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
from functions.events.sprint import ProjectSprints, Sprint, Task

# A plan as it is kept between retries.
PlanJson = dict[str, Any]


@dataclass(frozen=True)
class Chosen:
    """A sprint to simulate."""

    project_id: str
    sprint_id: str


@dataclass(frozen=True)
class Plan:
    """The day, in UTC, and the sprints."""

    scrum_date: date
    sprints: tuple[Chosen, ...]


def plan(event: ScheduleDue | ScrumRequested, sprints: Sequence[Sprint], now: datetime) -> PlanJson:
    chosen = [{"project_id": s.project_id, "sprint_id": s.sprint_id} for s in sprints]
    return {"scrum_date": str(day_of(event, now)), "sprints": chosen}


def planned(kept: PlanJson) -> Plan:
    return Plan(date.fromisoformat(kept["scrum_date"]), tuple(Chosen(**s) for s in kept["sprints"]))


def day_of(event: ScheduleDue | ScrumRequested, now: datetime) -> date:
    """The day in UTC that a tick was due, or that was asked for, or today."""
    if isinstance(event, ScheduleDue):
        return event.minute.astimezone(UTC).date()
    return event.scrum_date or now.astimezone(UTC).date()


def active_sprints(projects: Sequence[ProjectSprints]) -> list[Sprint]:
    """Each project's sprint in progress, the newest where there are several."""
    active = []
    for project in projects:
        in_progress = [s for s in project.sprints if s.status == "in_progress"]
        if in_progress:
            active.append(max(in_progress, key=lambda s: s.start_date or date.min))
    return active


def day_key(sprint_id: str, on: date) -> str:
    """What makes two simulations the same."""
    return f"scrum:{sprint_id}:{on}"


def check_nothing_to_move(sprint: Chosen, tasks: Sequence[Task]) -> None:
    """`ValueError` where nothing moved although there are tasks to move."""
    left = [task for task in tasks if task.progress_percentage < 100]
    if left:
        raise ValueError(
            f"daily-scrum-service moved nothing in sprint {sprint.sprint_id}, "
            f"though {len(left)} of its {len(tasks)} tasks are not done"
        )


def simulated(sprint: Chosen, on: date, run: ScrumRun, now: datetime) -> SprintSimulated:
    """What moved; a task that carries no instant of its own moved now."""
    moved = [_moved(update, now) for update in run.updates]
    return SprintSimulated(
        project_id=sprint.project_id,
        sprint_id=sprint.sprint_id,
        scrum_date=on,
        simulated_at=max((task.moved_at for task in moved), default=now),
        moved=moved,
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
