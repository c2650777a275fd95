"""Tasks: what sprint-service reports of them."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from pydantic import Field

from functions.events.base import Event, Id


class TaskUpdated(Event):
    """A task of a sprint stands differently: assigned, moved, finished, or back in the backlog.

    `sprint_id` is the sprint that it is in, none once it is back. `progress_percentage` 0 to 100.
    Events may arrive in any order: of two, the one with the later `updated_at` is right.
    """

    type: ClassVar[str] = "io.dsm.task.updated.v1"

    task_id: Id
    project_id: Id
    sprint_id: Id | None
    status: str
    progress_percentage: int = Field(ge=0, le=100)
    assigned_to: str | None
    updated_at: datetime

    def subject(self) -> str | None:
        return self.task_id

    def identity(self) -> str | None:
        return f"{self.task_id}@{self.updated_at.isoformat()}"
