"""The inputs of a run: a worker's answer, a timer, and the commands of operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from functions.orchestrator.decide.model import Action


@dataclass(frozen=True, slots=True)
class Answered:
    """A worker says how a step went. Without `attempt` it speaks of the one in flight.

    `final`: the worker knows that another attempt cannot help. `unkept`: why the result of a
    success cannot be kept. `named`: the answer must say which worker gives it.
    """

    step: str
    action: Action
    success: bool
    attempt: int | None = None
    worker: str | None = None
    result: Any = None
    error: str | None = None
    final: bool = False
    unkept: str | None = None
    named: bool = False


@dataclass(frozen=True, slots=True)
class Woken:
    """Something may have become possible: a timer is due, or a worker has registered."""


@dataclass(frozen=True, slots=True)
class UndoAsked:
    """An operator takes the run back, all of it or to just after the step `to`."""

    who: str
    to: str | None = None


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """An operator stops the run; what was done is undone."""

    who: str


@dataclass(frozen=True, slots=True)
class PauseAsked:
    """An operator holds the run: nothing new is sent, answers are still taken."""

    who: str


@dataclass(frozen=True, slots=True)
class ResumeAsked:
    """An operator lets a paused run go on."""

    who: str


@dataclass(frozen=True, slots=True)
class RetryAsked:
    """An operator lets a run that ended badly go on from where it failed.

    `reassign`: undo at the workers that are registered now what others did that are not.
    """

    who: str
    reassign: bool = False


Input: TypeAlias = (
    Answered | Woken | UndoAsked | CancelAsked | PauseAsked | ResumeAsked | RetryAsked
)
