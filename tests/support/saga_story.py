"""A run written as a script: what happens to it, and what it sends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from functions.orchestrator.decide.inputs import (
    Answered,
    Input,
    Woken,
)
from functions.orchestrator.decide.model import (
    Action,
    Decision,
    Definition,
    Retry,
    StepDef,
    World,
)
from functions.orchestrator.decide.run import begin, decide

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
ONCE = Retry(attempts=1)
FORBIDDEN = "a payload that no condition can be evaluated over"
DO, UNDO = Action.DO, Action.UNDO


def chain(*names: str, **options: Any) -> Definition:
    """A sequence of steps; `options` are those of each step or of the definition."""
    whole = {k: options.pop(k) for k in ("deadline_s", "hold_on_failure") if k in options}
    steps = [
        StepDef(name, n + 1, after=(names[n - 1],) if n else (), **options)
        for n, name in enumerate(names)
    ]
    return Definition("o", "sequential", tuple(steps), **whole)


def graph(after: dict[str, str], **options: Any) -> Definition:
    """Steps by name, each with the names of the steps that it waits for."""
    steps = [StepDef(n, i + 1, after=tuple(b), **options) for i, (n, b) in enumerate(after.items())]
    return Definition("o", "simultaneous", tuple(steps))


class Story:
    """A run that things happen to; it remembers what was sent."""

    def __init__(self, definition: Definition, *missing: str, payload: Any = None) -> None:
        self.now = START
        self.workers = {s.name: "w" for s in definition.steps if s.name not in missing}
        self.sent: list[str] = []
        self.decision = self._keep(begin("f", definition, self.world, payload=payload))

    @property
    def world(self) -> World:
        return World(self.now, self.workers, _holds)

    def _keep(self, decision: Decision) -> Decision:
        self.run = decision.run
        self.sent += [f"{c.action} {c.step} {c.attempt}" for c in decision.commands]
        return decision

    def happens(self, given: Input) -> Decision:
        self.decision = self._keep(decide(self.run, given, self.world))
        return self.decision

    def ok(self, step: str, action: Action = DO, attempt: int | None = None) -> Decision:
        return self.happens(Answered(step, action, True, attempt, "w", result=step.upper()))

    def fails(self, step: str, action: Action = DO, **more: Any) -> Decision:
        more = {"error": "boom", "worker": "w", **more}
        return self.happens(Answered(step, action, False, **more))

    def after(self, seconds: float) -> Decision:
        self.now += timedelta(seconds=seconds)
        return self.happens(Woken())

    def takes(self) -> list[str]:
        """What was sent since the last look."""
        sent, self.sent = self.sent, []
        return sent

    @property
    def status(self) -> str:
        return str(self.run.status)

    def steps(self) -> str:
        return " ".join(f"{n}:{s.status}" for n, s in self.run.steps.items())


def _holds(when: str, facts: dict[str, Any]) -> bool:
    if facts["payload"] == FORBIDDEN:
        raise ValueError("no such payload")
    return bool(facts["payload"] == when)
