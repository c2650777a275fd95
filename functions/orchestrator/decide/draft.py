"""A decision in the making: the run so far, and what is to be sent and written down."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from functions.orchestrator.decide.model import (
    Action,
    Audit,
    Call,
    Command,
    Decision,
    Run,
    RunStatus,
    Step,
    StepDef,
    StepStatus,
    World,
)


class Draft:
    """Local to one decision: nothing outside ever sees it change."""

    def __init__(self, run: Run, world: World) -> None:
        self.run = run
        self.world = world
        self.steps: dict[str, Step] = dict(run.steps)
        self.commands: list[Command] = []
        self.audits: list[Audit] = []

    def set(self, name: str, **changes: Any) -> Step:
        """Change a step; one that fails has ended."""
        if changes.get("status") is StepStatus.DO_FAIL:
            changes.setdefault("completed_at", self.world.now)
        step = self.steps[name] = self.steps[name]._replace(**changes)
        return step

    def set_run(self, **changes: Any) -> None:
        """Change the run; `since` follows the status, and what has ended is paused no more."""
        if changes.get("status", self.run.status).ended:
            changes |= {"paused_by": None, "paused_at": None}
        if changes.get("status", self.run.status) is not self.run.status:
            changes.setdefault("since", self.world.now)
        self.run = self.run._replace(**changes)

    def note(self, type_: str, detail: str = "", **where: Any) -> None:
        """Write a line of history."""
        self.audits.append(Audit(type_, detail, **where))

    def send(self, definition: StepDef, action: Action) -> None:
        """Give a step to its worker, under the next attempt number."""
        name, step, do = definition.name, self.steps[definition.name], action is Action.DO
        # Who did a step undoes it, be that registered still or not.
        worker = self.world.workers[name] if do else step.holders[0]
        attempt = 1 + (step.attempt if do else step.undo_attempt)
        sent: dict[str, Any] = {
            "worker": worker,
            "due_at": self.world.now + timedelta(seconds=definition.timeout_s),
            "calls": (*step.calls, Call(action, attempt, worker)),
        }
        if do:
            sent["started_at"] = step.started_at or self.world.now
            self.set(name, status=StepStatus.IN_PROGRESS, attempt=attempt, **sent)
        else:
            self.set(name, status=StepStatus.UNDOING, undo_attempt=attempt, **sent)
        self.commands.append(Command(name, action, attempt, worker, step.done_by(worker)))
        type_ = "STEP_STARTED" if action is Action.DO else "UNDO_STARTED"
        self.note(type_, f"sent to {worker}", step=name, action=action, attempt=attempt)

    @property
    def forward(self) -> bool:
        return self.run.status in (RunStatus.WAITING, RunStatus.IN_PROGRESS)

    def decision(self) -> Decision:
        return Decision(
            self.run._replace(steps=self.steps), tuple(self.commands), tuple(self.audits)
        )
