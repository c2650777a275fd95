"""How complete a sprint is, and which events follow: pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime

from functions.events.base import Event
from functions.events.sprint import (
    ProjectSprints,
    Sprint,
    SprintCompleted,
    SprintCounts,
    SprintsReported,
    SprintStatus,
    TaskSummary,
)

COLUMNS = ("project_id", "sprint_id", "total_tasks", "completed_tasks", "completion_percentage")


@dataclass(frozen=True)
class Reading:
    """A project's row, whether its only content is that a service is away for now, and the
    latest sprint where none is active."""

    status: SprintStatus
    passing: bool = False
    last_sprint_id: str | None = None


def measured(sprint: Sprint, summary: TaskSummary) -> SprintStatus:
    """A sprint is complete when it has tasks and all are done: counts, no rounded percentage.

    >>> sprint = Sprint(project_id="P", sprint_id="P-S01", status="in_progress")
    >>> measured(sprint, TaskSummary(total_tasks=200, completed_tasks=199, pending_tasks=1)).state
    'active'
    >>> measured(sprint, TaskSummary(total_tasks=0, completed_tasks=0, pending_tasks=0)).state
    'active'
    >>> measured(sprint, TaskSummary(total_tasks=3, completed_tasks=3, pending_tasks=0)).state
    'complete'
    """
    total, completed = summary.total_tasks, summary.completed_tasks
    return SprintStatus(
        project_id=sprint.project_id,
        sprint_id=sprint.sprint_id,
        total_tasks=total,
        completed_tasks=completed,
        completion_percentage=round(100 * completed / total, 2) if total else 0.0,
        state="complete" if summary.is_complete else "active",
    )


def no_sprint(project_id: str, last: Sprint | None = None) -> SprintStatus:
    """A project without an active sprint; `last` is its latest, if it ever had one.

    >>> no_sprint("P", Sprint(project_id="P", sprint_id="P-S01", status="completed")).detail
    'P-S01 is completed and has no successor'
    """
    over = last is not None and last.status != "in_progress"
    detail = f"{last.sprint_id} is {last.status} and has no successor" if last and over else None
    return SprintStatus(
        project_id=project_id,
        detail=detail,
        total_tasks=0,
        completed_tasks=0,
        completion_percentage=0.0,
        state="no-sprint",
    )


def unreadable(project_id: str, sprint_id: str | None, detail: str) -> SprintStatus:
    """A project, or its sprint where that is known, that could not be read."""
    return SprintStatus(project_id=project_id, sprint_id=sprint_id, state="error", detail=detail)


def nameless(broken: Sequence[tuple[str | None, str]], known: Set[str]) -> list[Reading]:
    """Rows of what was listed and could not be read: (project, why), where no row names it yet.

    >>> [r.status.project_id for r in nameless([("P", ""), ("Q", ""), (None, "no id")], {"P"})]
    ['Q', '?']
    """
    return [
        Reading(unreadable(project or "?", None, detail))
        for project, detail in dict.fromkeys(broken)
        if project not in known
    ]


def worth_waiting(readings: Sequence[Reading]) -> bool:
    """Is there no project that could be read, and may another try read one?

    >>> broken = unreadable("P", None, "")
    >>> worth_waiting([Reading(broken, passing=True), Reading(broken)])
    True
    >>> worth_waiting([Reading(broken)])
    False
    >>> worth_waiting([Reading(broken, passing=True), Reading(no_sprint("Q"))])
    False
    """
    failed = all(reading.status.state == "error" for reading in readings)
    return failed and any(reading.passing for reading in readings)


def report(statuses: Sequence[SprintStatus], at: datetime) -> SprintsReported:
    failed = sum(status.state == "error" for status in statuses)
    return SprintsReported(reported_at=at, sprints=list(statuses), failed=failed)


def counted(project_id: str, sprint: SprintCounts | None) -> Reading:
    """A project's row, of its active sprint or else its latest, which came with its counts."""
    if sprint is not None and sprint.status == "in_progress":
        try:
            return Reading(measured(sprint, sprint))
        except ValueError as error:  # counts that cannot be
            return Reading(unreadable(project_id, sprint.sprint_id, shown(error)))
    last = None if sprint is None else sprint.sprint_id
    return Reading(no_sprint(project_id, sprint), last_sprint_id=last)


def shown(error: Exception) -> str:
    """An error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def latest(projects: Iterable[ProjectSprints]) -> dict[str, Sprint]:
    """Each project's latest sprint, by project; sprints come newest first."""
    return {project.project_id: project.sprints[0] for project in projects if project.sprints}


def completions(statuses: Sequence[SprintStatus]) -> list[SprintCompleted]:
    """One for each sprint that is finished and still active."""
    return [
        SprintCompleted(
            project_id=status.project_id,
            sprint_id=status.sprint_id,
            total_tasks=status.total_tasks,
        )
        for status in statuses
        if status.state == "complete" and status.sprint_id and status.total_tasks
    ]


def events(
    statuses: Sequence[SprintStatus], again: Sequence[SprintCompleted], at: datetime
) -> list[Event]:
    """The report, and the completions: of now, and `again` of those that have no successor."""
    return [report(statuses, at), *completions(statuses), *again]


def as_csv(statuses: Sequence[SprintStatus]) -> str:
    """The report as a table, in the columns and texts that its readers know.

    >>> print(as_csv([no_sprint("A"), unreadable("B", None, ""), unreadable("C", "C-S01", "")]))
    project_id,sprint_id,total_tasks,completed_tasks,completion_percentage
    A,N/A,0,0,0.00
    B,ERROR,0,0,0.00
    C,C-S01,ERROR,ERROR,ERROR
    <BLANKLINE>
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(map(_row, statuses))
    return out.getvalue()


def csv_of(events: Sequence[Event]) -> str:
    return "".join(as_csv(event.sprints) for event in events if isinstance(event, SprintsReported))


def _row(status: SprintStatus) -> Sequence[object]:
    match status.state, status.sprint_id:
        case "no-sprint", _:
            return (status.project_id, "N/A", 0, 0, "0.00")
        case "error", None:
            return (status.project_id, "ERROR", 0, 0, "0.00")
        case "error", sprint_id:
            return (status.project_id, sprint_id, "ERROR", "ERROR", "ERROR")
        case _, sprint_id:
            counts = (status.total_tasks, status.completed_tasks)
            return (status.project_id, sprint_id, *counts, f"{status.completion_percentage:.2f}")
