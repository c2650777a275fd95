"""Sprints: what they are, and the morning's report of how complete they are."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from functions.events.base import Event, Id, Request, Value


class Sprint(Value):
    """A sprint as sprint-service knows it."""

    sprint_id: Id
    project_id: Id
    sprint_name: str = ""
    start_date: date | None = None
    end_date: date | None = None
    duration_weeks: int | None = None
    status: str


def newest_active(sprints: Iterable[Sprint]) -> Sprint | None:
    """A project's sprint in progress, the one that began last where there are several."""
    active = (sprint for sprint in sprints if sprint.status == "in_progress")
    return max(active, key=lambda sprint: sprint.start_date or date.min, default=None)


class TaskSummary(Value):
    """Counts of a sprint's tasks; completed means a progress of 100."""

    total_tasks: int = Field(ge=0)
    completed_tasks: int = Field(ge=0)
    pending_tasks: int = Field(ge=0)

    @property
    def is_complete(self) -> bool:
        """All tasks are completed; a sprint without tasks is not complete."""
        return 0 < self.total_tasks == self.completed_tasks


def _percent(given: object) -> object:
    """Whatever a service keeps as progress: some take 250, -5 or nothing."""
    if given is None:
        return 0
    return max(0, min(100, given)) if isinstance(given, int | float) else given


class Task(Value):
    """A task of a sprint; progress in percent, 0 to 100."""

    task_id: Id
    title: str
    status: str
    sprint_id: str | None = None
    progress_percentage: Annotated[int, BeforeValidator(_percent)] = Field(ge=0, le=100)
    assigned_to: str | None = None


class SprintDetail(Value):
    """A sprint together with its tasks."""

    sprint: Sprint
    tasks: list[Task]


class SprintCounts(Sprint, TaskSummary):
    """A sprint together with the counts of its tasks."""


class ProjectSprints(Value):
    """Every sprint that a project ever had, newest start first."""

    project_id: Id
    sprints: list[Sprint] = Field(default_factory=list)


class Member(Value):
    """A member of a project's team."""

    id: str
    name: str = ""


class SprintStatus(Value):
    """One row of the report: a project's active sprint, or why there is none.

    What is unknown is None: the sprint where there is none or it could not be asked for, the
    counts where they could not be read. Percentages have two decimals and are for display;
    "complete" is decided on the counts. A project that has no good id is named as it was found.
    """

    project_id: str = Field(min_length=1, max_length=255)
    sprint_id: str | None = None
    total_tasks: int | None = Field(None, ge=0)
    completed_tasks: int | None = Field(None, ge=0)
    completion_percentage: float | None = Field(None, ge=0, le=100)
    state: Literal["active", "complete", "no-sprint", "error"]
    detail: str | None = None


class SprintReportRequested(Request):
    """A user requests the report, of all projects or of one."""

    type: ClassVar[str] = "io.dsm.sprint.report.requested.v1"

    project_id: Id | None = None

    def subject(self) -> str | None:
        return self.project_id


class SprintsReported(Event):
    """How complete every active sprint is; `failed` counts the projects that could not be read.

    `reported_at` is the nominal time of a schedule's report; the numbers are of the event's `time`.
    """

    type: ClassVar[str] = "io.dsm.sprints.reported.v1"

    reported_at: datetime
    sprints: list[SprintStatus]
    failed: int = Field(ge=0)

    def subject(self) -> str | None:
        return "sprints"


class SprintCompleted(Event):
    """Every task of a sprint is done. It is the same fact however often it is reported."""

    type: ClassVar[str] = "io.dsm.sprint.completed.v1"

    project_id: Id
    sprint_id: Id
    total_tasks: int = Field(gt=0)

    def subject(self) -> str | None:
        return self.sprint_id

    def identity(self) -> str | None:
        return self.sprint_id


class SprintStarted(Event):
    """A project's next sprint has begun, with its tasks in it."""

    type: ClassVar[str] = "io.dsm.sprint.started.v1"

    project_id: Id
    sprint_id: Id
    sprint_name: str
    start_date: date
    end_date: date
    task_ids: list[str]

    def subject(self) -> str | None:
        return self.sprint_id

    def identity(self) -> str | None:
        return self.sprint_id
