"""A project's next cycle: close the finished sprint, fill the backlog, start the next sprint."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from functions.events.base import Event, Id, Request, Value


class CycleRequested(Request):
    """A user requests a project's next cycle."""

    type: ClassVar[str] = "io.dsm.cycle.requested.v1"

    project_id: Id

    def subject(self) -> str | None:
        return self.project_id


class Decisions(Value):
    """What project-orchestrator decided, as far as a cycle checks it."""

    create_new_sprint: bool = False
    sprint_closure_triggered: bool = False
    sprint_id_to_close: str | None = None
    sprint_id: str | None = None
    reasoning: str | None = None
    warnings: list[str] = Field(default_factory=list)


class Orchestration(Value):
    """project-orchestrator's answer: what it decided and what it did."""

    project_id: str
    decisions: Decisions = Decisions()
    actions_taken: list[str] = Field(default_factory=list)
    sprint_id: str | None = None


class BacklogGenerated(Value):
    """backlog-service's answer: how many new tasks there are."""

    message: str = ""
    tasks_count: int = Field(ge=0)


class BacklogCounts(Value):
    """backlog-service's summary, as far as a cycle reads it."""

    unassigned_for_sprint_count: int = Field(ge=0)


class CycleStep(Value):
    """One step of a cycle: what the service did by its answer, and how long it took."""

    name: str
    did: list[str]
    took_ms: float = Field(ge=0)


class CycleCompleted(Event):
    """All four steps of a project's cycle succeeded.

    `schedule` is the new sprint's daily scrum, five cron fields; `warnings` names what was unusual.
    """

    type: ClassVar[str] = "io.dsm.cycle.completed.v1"

    project_id: Id
    closed_sprint_id: str | None
    new_sprint_id: str | None
    schedule: str
    steps: list[CycleStep]
    warnings: list[str] = Field(default_factory=list)
    took_ms: float = Field(ge=0)

    def subject(self) -> str | None:
        return self.project_id
