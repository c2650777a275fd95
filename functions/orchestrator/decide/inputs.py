"""The inputs of a run: a worker's answer, a timer, and the commands of operators.

A command has a `reason`, which goes into the history; empty where none was given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from functions.orchestrator.decide.model import Action


@dataclass(frozen=True, slots=True)
class Answered:
    """A worker's answer. Without `attempt` it is of the attempt in flight.

    `final`: no retry. `unstorable`: why the result of a success cannot be stored. `named`: the
    answer must name its worker.
    """

    step: str
    action: Action
    success: bool
    attempt: int | None = None
    worker: str | None = None
    result: Any = None
    error: str | None = None
    final: bool = False
    unstorable: str | None = None
    named: bool = False


@dataclass(frozen=True, slots=True)
class Woken:
    """A timer is due, or a worker has registered."""


@dataclass(frozen=True, slots=True)
class UndoRequested:
    """An operator undoes the run, all of it or back to the step `to`, which stays."""

    who: str
    to: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """An operator cancels the run; its steps are undone."""

    who: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PauseRequested:
    """An operator pauses the run: no command is sent, answers are accepted."""

    who: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ResumeRequested:
    """An operator resumes a paused run."""

    who: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RetryRequested:
    """An operator retries a failed run from its failed step.

    `reassign`: the workers that are registered now undo the steps of those that are not.
    """

    who: str
    reassign: bool = False
    reason: str = ""


Input: TypeAlias = (
    Answered
    | Woken
    | UndoRequested
    | CancelRequested
    | PauseRequested
    | ResumeRequested
    | RetryRequested
)
