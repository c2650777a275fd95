"""The daily scrum: progress is simulated, then, only then, one report is filed."""

from __future__ import annotations

from datetime import date, datetime
from typing import ClassVar

from pydantic import Field

from functions.events.base import Event, Id, Request, Value, shorten


class ScrumRequested(Request):
    """A user requests a daily scrum: of one sprint, or of every active sprint."""

    type: ClassVar[str] = "io.dsm.scrum.requested.v1"

    project_id: Id | None = None
    sprint_id: Id | None = None
    scrum_date: date | None = None

    def subject(self) -> str | None:
        return self.sprint_id or self.project_id


class TaskUpdate(Value):
    """One task in daily-scrum-service's answer; percentages are text such as "20%"."""

    task_id: Id
    progress_made: str
    new_status: str
    created_at: datetime | None = None


class ScrumRun(Value):
    """daily-scrum-service's answer to the simulation of a sprint's working day."""

    message: str = ""
    tasks_updated_count: int = Field(ge=0)
    updates: list[TaskUpdate] = Field(default_factory=list)


class TaskMoved(Value):
    """A task's progress on one day, in percent; `moved_at` is the instant that it moved."""

    task_id: Id
    progress_made: int = Field(ge=0, le=100)
    progress: int = Field(ge=0, le=100)
    moved_at: datetime


class SprintSimulated(Event):
    """A sprint's working day has been simulated; its tasks stand as they do now.

    `warnings` names what was unusual: that nothing moved, although tasks are not done.
    """

    type: ClassVar[str] = "io.dsm.sprint.simulated.v1"

    project_id: Id
    sprint_id: Id
    scrum_date: date
    simulated_at: datetime
    moved: list[TaskMoved]
    warnings: list[str] = Field(default_factory=list)

    def subject(self) -> str | None:
        return self.sprint_id

    def identity(self) -> str | None:
        return f"{shorten(self.sprint_id, 200)}@{self.scrum_date}"


class ScrumReported(Event):
    """A sprint's daily report is filed in the chronicle as exactly one note.

    `warnings` are those of the simulated day.
    """

    type: ClassVar[str] = "io.dsm.scrum.reported.v1"

    project_id: Id
    sprint_id: Id
    scrum_date: date
    note_id: str
    total_tasks: int = Field(ge=0)
    completed_tasks: int = Field(ge=0)
    moved_tasks: int = Field(ge=0)
    warnings: list[str] = Field(default_factory=list)

    def subject(self) -> str | None:
        return self.sprint_id
