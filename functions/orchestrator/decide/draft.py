"""A decision in the making: the run so far, and what is to be sent and written down."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from functions.orchestrator.decide.model import (
    Action,
    Audit,
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
        """Change a step."""
        step = self.steps[name] = replace(self.steps[name], **changes)
        return step

    def set_run(self, **changes: Any) -> None:
        """Change the run; `since` follows the status."""
        if changes.get("status", self.run.status) is not self.run.status:
            changes.setdefault("since", self.world.now)
        self.run = replace(self.run, **changes)

    def note(self, type_: str, detail: str = "", **where: Any) -> None:
        """Write a line of history."""
        self.audits.append(Audit(type_, detail, **where))

    def send(self, definition: StepDef, action: Action) -> None:
        """Give a step to its worker, under the next attempt number."""
        name, step = definition.name, self.steps[definition.name]
        # Only who did a step may be left to undo it.
        worker = self.world.workers.get(name) or step.worker
        assert worker is not None, f"{name} has no worker"
        due_at = self.world.now + timedelta(seconds=definition.timeout_s)
        if action is Action.DO:
            attempt = step.attempt + 1
            self.set(
                name,
                status=StepStatus.IN_PROGRESS,
                attempt=attempt,
                due_at=due_at,
                worker=worker,
                started_at=step.started_at or self.world.now,
            )
        else:
            attempt = step.undo_attempt + 1
            self.set(
                name, status=StepStatus.UNDOING, undo_attempt=attempt, due_at=due_at, worker=worker
            )
        self.commands.append(Command(name, action, attempt, worker))
        type_ = "STEP_STARTED" if action is Action.DO else "UNDO_STARTED"
        self.note(type_, f"sent to {worker}", step=name, action=action, attempt=attempt)

    @property
    def forward(self) -> bool:
        return self.run.status in (RunStatus.WAITING, RunStatus.IN_PROGRESS)

    def decision(self) -> Decision:
        return Decision(
            replace(self.run, steps=self.steps), tuple(self.commands), tuple(self.audits)
        )
