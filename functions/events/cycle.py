"""A project's next cycle: close the finished sprint, fill the backlog, start the next sprint."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from functions.events.base import Event, Request
from functions.events.sprint import Value


class CycleRequested(Request):
    """Somebody asks for a project's next cycle."""

    type: ClassVar[str] = "io.dsm.cycle.requested.v1"

    project_id: str = Field(min_length=1)

    def subject(self) -> str | None:
        return self.project_id


class CycleStep(Value):
    """One step of a cycle: what the service said that it did, and how long it took."""

    name: str
    did: list[str]
    took_ms: float = Field(ge=0)


class CycleCompleted(Event):
    """All four steps of a project's cycle succeeded."""

    type: ClassVar[str] = "io.dsm.cycle.completed.v1"

    project_id: str
    closed_sprint_id: str | None
    new_sprint_id: str | None
    schedule: str
    steps: list[CycleStep]
    took_ms: float = Field(ge=0)

    def subject(self) -> str | None:
        return self.project_id
