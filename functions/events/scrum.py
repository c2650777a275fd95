"""The daily scrum: progress is simulated, then, only then, one report is filed."""

from __future__ import annotations

from datetime import date, datetime
from typing import ClassVar

from pydantic import Field, model_validator

from functions.events.base import Event, Request
from functions.events.sprint import Value


class ScrumRequested(Request):
    """Somebody asks for a daily scrum: of one sprint, or of every active sprint."""

    type: ClassVar[str] = "io.dsm.scrum.requested.v1"

    project_id: str | None = Field(None, min_length=1)
    sprint_id: str | None = Field(None, min_length=1)
    scrum_date: date | None = None

    @model_validator(mode="after")
    def _a_sprint_names_its_project(self) -> ScrumRequested:
        if self.sprint_id is not None and self.project_id is None:
            raise ValueError("sprint_id needs project_id beside it")
        return self

    def subject(self) -> str | None:
        return self.sprint_id or self.project_id


class TaskUpdate(Value):
    """One task in daily-scrum-service's answer; percentages are text such as "20%"."""

    task_id: str
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

    task_id: str
    progress_made: int = Field(ge=0, le=100)
    progress: int = Field(ge=0, le=100)
    moved_at: datetime


class SprintSimulated(Event):
    """A sprint's working day has been simulated; its tasks stand as they do now."""

    type: ClassVar[str] = "io.dsm.sprint.simulated.v1"

    project_id: str
    sprint_id: str
    scrum_date: date
    simulated_at: datetime
    moved: list[TaskMoved]

    def subject(self) -> str | None:
        return self.sprint_id

    def identity(self) -> str | None:
        return f"{self.sprint_id}@{self.scrum_date}"


class ScrumReported(Event):
    """A sprint's daily report is filed in the chronicle as exactly one note."""

    type: ClassVar[str] = "io.dsm.scrum.reported.v1"

    project_id: str
    sprint_id: str
    scrum_date: date
    note_id: str
    total_tasks: int = Field(ge=0)
    completed_tasks: int = Field(ge=0)
    moved_tasks: int = Field(ge=0)

    def subject(self) -> str | None:
        return self.sprint_id
