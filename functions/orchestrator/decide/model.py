"""What a run is: definitions, runs and steps as data that never changes, and their states.

What each event makes anew is a named tuple: those are made and replaced several times as fast as
frozen dataclasses, which took a sixth of a step's processor time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple

DEFAULT_TIMEOUT_S = 300.0


class RunStatus(StrEnum):
    WAITING = "WAITING"  # for a worker to register
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"  # without a step to undo, or on hold by its definition
    UNDOING = "UNDOING"
    UNDONE = "UNDONE"
    UNDO_FAILED = "UNDO_FAILED"  # some step could not be undone
    CANCELLED = "CANCELLED"

    @property
    def ended(self) -> bool:
        return self not in (RunStatus.WAITING, RunStatus.IN_PROGRESS, RunStatus.UNDOING)


class StepStatus(StrEnum):
    PENDING = "PENDING"
    IN_PROGRESS = "IN_PROGRESS"  # DO is in flight
    RETRYING = "RETRYING"  # DO failed and is retried when it is due
    DO_SUCCESS = "DO_SUCCESS"
    DO_FAIL = "DO_FAIL"
    SKIPPED = "SKIPPED"  # its condition did not hold
    UNDOING = "UNDOING"  # UNDO is in flight
    UNDO_RETRYING = "UNDO_RETRYING"
    UNDO_SUCCESS = "UNDO_SUCCESS"
    UNDO_FAIL = "UNDO_FAIL"


class Action(StrEnum):
    DO = "DO"
    UNDO = "UNDO"


class Cause(StrEnum):
    """Why a run compensates."""

    FAILURE = "FAILURE"
    DEADLINE = "DEADLINE"
    CANCEL = "CANCEL"
    UNDO = "UNDO"


class CallOutcome(StrEnum):
    """The result of an attempt."""

    SENT = "SENT"  # without an answer: a DO may have taken effect
    FAILED = "FAILED"  # without an effect
    SUCCESS = "SUCCESS"
    UNDONE = "UNDONE"  # a DO whose worker has undone the step since


IN_FLIGHT = frozenset({StepStatus.IN_PROGRESS, StepStatus.UNDOING})
SETTLED = frozenset({StepStatus.DO_SUCCESS, StepStatus.SKIPPED})


@dataclass(frozen=True, slots=True)
class Retry:
    """How often an action is tried, and the pause before each further attempt, in seconds.

    `final` are patterns (as of a shell) of errors after which there is no further attempt.
    """

    attempts: int = 4
    backoff_s: float = 1.0
    factor: float = 2.0
    max_s: float = 60.0
    jitter: float = 0.2
    final: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StepDef:
    """One step as it was registered. `after` are the steps it waits for."""

    name: str
    seq: int
    object_type: str = "String"
    timeout_s: float = DEFAULT_TIMEOUT_S
    retry: Retry = Retry()
    undo: bool = True
    after: tuple[str, ...] = ()
    when: str | None = None


@dataclass(frozen=True)
class Definition:
    """One version of an orchestration; runs are pinned to the version they started with."""

    name: str
    type: str
    steps: tuple[StepDef, ...]
    initiator: str = ""
    deadline_s: float | None = None
    hold_on_failure: bool = False

    @cached_property
    def by_name(self) -> Mapping[str, StepDef]:
        return {step.name: step for step in self.steps}

    @cached_property
    def conditional(self) -> bool:
        """Is there a step with a condition?"""
        return any(step.when is not None for step in self.steps)

    @cached_property
    def before(self) -> Mapping[str, frozenset[str]]:
        """Everything that must have come before a step, near and far."""
        found: dict[str, frozenset[str]] = {}

        def ancestors(name: str) -> frozenset[str]:
            if name not in found:
                direct = self.by_name[name].after
                found[name] = frozenset(direct).union(*(ancestors(n) for n in direct))
            return found[name]

        return {step.name: ancestors(step.name) for step in self.steps}

    @cached_property
    def behind(self) -> Mapping[str, frozenset[str]]:
        """Everything that builds on a step, near and far."""
        return {
            step.name: frozenset(n for n, before in self.before.items() if step.name in before)
            for step in self.steps
        }


class Call(NamedTuple):
    """One attempt, its worker and its outcome."""

    action: Action
    attempt: int
    worker: str
    outcome: CallOutcome = CallOutcome.SENT


class Step(NamedTuple):
    """One step of one run.

    `attempt` and `undo_attempt` never decrease: they fence answers. Attempts up to `base`
    (`undo_base`) were made before an operator's retry. `round` increases when an undone step is
    done again, with the attempts after `round_base`; `calls` are those of this round.
    `due_at`: when the action in flight times out, or the next attempt starts.
    """

    status: StepStatus = StepStatus.PENDING
    attempt: int = 0
    base: int = 0
    undo_attempt: int = 0
    undo_base: int = 0
    round: int = 1
    round_base: int = 0
    calls: tuple[Call, ...] = ()
    due_at: datetime | None = None
    worker: str | None = None
    result: Any = None
    error: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    undone_at: datetime | None = None

    @property
    def effect(self) -> bool:
        """Does it have a known effect?"""
        return any(c.outcome is CallOutcome.SUCCESS for c in self._dos)

    @property
    def holders(self) -> tuple[str, ...]:
        """Return the workers with its effect, those with a known one first.

        An attempt in flight is awaited first.
        """
        in_flight = self.attempt if self.status is StepStatus.IN_PROGRESS else None
        done = [c for c in reversed(self._dos) if c.attempt != in_flight]
        sure = [c.worker for c in done if c.outcome is CallOutcome.SUCCESS]
        return tuple(
            dict.fromkeys([*sure, *(c.worker for c in done if c.outcome is CallOutcome.SENT)])
        )

    def done_by(self, worker: str) -> bool:
        """Does it have a known effect at this worker?"""
        return any(c.outcome is CallOutcome.SUCCESS and c.worker == worker for c in self._dos)

    def call(self, action: Action, attempt: int) -> Call | None:
        """Return an attempt of this round."""
        for call in self.calls:
            if call.attempt == attempt and call.action is action:
                return call
        return None

    @property
    def _dos(self) -> list[Call]:
        return [c for c in self.calls if c.action is Action.DO]

    def answered(self, call: Call, outcome: CallOutcome) -> tuple[Call, ...]:
        """Return the calls after an answer; a worker's UNDO compensates all its DOs."""
        undone = call.action is Action.UNDO and outcome is CallOutcome.SUCCESS
        return tuple(
            one._replace(outcome=outcome)
            if one is call
            else one._replace(outcome=CallOutcome.UNDONE)
            if undone and one.action is Action.DO and one.worker == call.worker
            else one
            for one in self.calls
        )


class Run(NamedTuple):
    """One run. `undo_to`: the step that an undo goes back to; it and what it builds on stay."""

    flow_id: str
    definition: Definition
    started_at: datetime
    steps: Mapping[str, Step]
    status: RunStatus = RunStatus.WAITING
    since: datetime | None = None
    payload: Any = None
    payload_encoding: str = "json"
    reason: str | None = None
    cause: Cause | None = None
    undo_to: str | None = None
    paused_by: str | None = None
    paused_at: datetime | None = None
    deadline_at: datetime | None = None
    completed_at: datetime | None = None

    @property
    def completed(self) -> bool:
        return self.status is RunStatus.COMPLETED


class Command(NamedTuple):
    """Tell a worker to do or undo a step. `effect`: it is known to have done what it undoes."""

    step: str
    action: Action
    attempt: int
    worker: str
    effect: bool = False


class Audit(NamedTuple):
    """One line of a run's history: what happened, to which step, and who or what did it."""

    type: str
    detail: str = ""
    step: str | None = None
    action: str | None = None
    attempt: int | None = None
    who: str | None = None


class Decision(NamedTuple):
    """What follows from an event: the run as it is now, what to send, what to write down."""

    run: Run
    commands: tuple[Command, ...] = ()
    audits: tuple[Audit, ...] = ()
    refused: str | None = None


@dataclass(frozen=True)
class World:
    """What a decision may know besides the run: the time, the workers, and how conditions hold.

    `workers`: step name to the service that has registered for it.
    `holds`: does a step's condition hold over `{"payload": ..., "results": ...}`? It raises
    `ValueError` where that cannot be known.
    """

    now: datetime
    workers: Mapping[str, str] = field(default_factory=dict)
    holds: Any = None
