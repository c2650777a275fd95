"""Fencing: an answer counts for one flow, step, action and attempt, from a worker that may give it.

Whatever does not fit changes nothing and is written down with the reason. A success that comes too
late to count is a fact all the same: the step has taken effect, and will be undone with the rest.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeAlias

from functions.orchestrator.decide.draft import Draft
from functions.orchestrator.decide.happenings import Answered
from functions.orchestrator.decide.model import Action, Run, Step, StepStatus
from functions.orchestrator.decide.timers import attempt_failed

Where: TypeAlias = dict[str, Any]

_DOING = (StepStatus.IN_PROGRESS, StepStatus.RETRYING)
_GIVEN_UP = (*_DOING, StepStatus.DO_FAIL, StepStatus.PENDING)


def objection(run: Run, answer: Answered, registered: str | None) -> str | None:
    """Why an answer cannot be meant for this run at all; None when it can.

    `registered`: the worker of the step.
    """
    step = run.steps.get(answer.step)
    if step is None:
        known = ", ".join(run.steps)
        return f"stepName: {answer.step!r} is no step of {run.definition.name}; it has {known}"
    if answer.worker is None:
        if answer.named:
            return "workerName: an answer must say which worker gives it"
    elif answer.worker not in (registered, step.worker):
        return f"workerName: {answer.worker!r} has not registered for step {answer.step!r}"
    issued = step.attempt if answer.action is Action.DO else step.undo_attempt
    if issued == 0:
        return f"action: step {answer.step!r} was never told to {answer.action}"
    if answer.attempt is not None and not 1 <= answer.attempt <= issued:
        return f"attempt: {answer.attempt} was never sent; the last one is {issued}"
    return None


def take(draft: Draft, answer: Answered) -> str | None:
    """Let an answer count, or return why it does not."""
    if answer.action is Action.DO:
        return _take_do(draft, answer)
    return _take_undo(draft, answer)


def _take_do(draft: Draft, answer: Answered) -> str | None:
    step = draft.steps[answer.step]
    attempt = answer.attempt or step.attempt
    where: Where = {
        "step": answer.step,
        "action": Action.DO,
        "attempt": attempt,
        "who": answer.worker,
    }
    current = attempt == step.attempt
    if answer.success and current and step.status in _DOING:
        if answer.unkept is not None:
            # Nobody can go on without the result, so the step has failed; its effect is there.
            draft.set(
                answer.step,
                status=StepStatus.DO_FAIL,
                effect=True,
                error=answer.unkept,
                due_at=None,
            )
            draft.note("STEP_FAILED", f"took effect, but {answer.unkept}", **where)
            return None
        draft.set(
            answer.step,
            status=StepStatus.DO_SUCCESS,
            effect=True,
            result=answer.result,
            error=None,
            due_at=None,
            completed_at=draft.world.now,
        )
        draft.note("STEP_SUCCESS", **where)
        return None
    if not answer.success and current and step.status is StepStatus.IN_PROGRESS:
        definition = draft.run.definition.by_name[answer.step]
        error = answer.error or "the worker gave no reason"
        attempt_failed(draft, definition, Action.DO, error, final=answer.final)
        return None
    if (
        answer.success
        and not step.effect
        and attempt > step.round_base
        and step.status in _GIVEN_UP
    ):
        draft.set(answer.step, effect=True, result=answer.result)
        draft.note("STEP_SUCCESS_LATE", "took effect after it was given up", **where)
        return None
    return _too_late(step, attempt, step.attempt)


def _take_undo(draft: Draft, answer: Answered) -> str | None:
    step = draft.steps[answer.step]
    attempt = answer.attempt or step.undo_attempt
    where: Where = {
        "step": answer.step,
        "action": Action.UNDO,
        "attempt": attempt,
        "who": answer.worker,
    }
    current = attempt == step.undo_attempt
    waiting = (StepStatus.UNDOING, StepStatus.UNDO_RETRYING, StepStatus.UNDO_FAIL)
    if answer.success and current and step.status in waiting:
        draft.set(
            answer.step,
            status=StepStatus.UNDO_SUCCESS,
            effect=False,
            error=None,
            due_at=None,
            undone_at=draft.world.now,
        )
        draft.note("UNDO_SUCCESS", **where)
        return None
    if not answer.success and current and step.status is StepStatus.UNDOING:
        definition = draft.run.definition.by_name[answer.step]
        error = answer.error or "the worker gave no reason"
        attempt_failed(draft, definition, Action.UNDO, error, final=answer.final)
        return None
    return _too_late(step, attempt, step.undo_attempt)


def _too_late(step: Step, attempt: int, last: int) -> str:
    if attempt < last:
        return f"attempt: {attempt} is over, attempt {last} has taken its place"
    return f"too late: the step is {step.status} already"


def started_again(step: Step) -> Step:
    """The step as it is when an operator lets its run go on: a fresh count of attempts."""
    again = replace(step, due_at=None, error=None)
    match step.status:
        case StepStatus.DO_FAIL | StepStatus.SKIPPED:
            return replace(again, status=StepStatus.PENDING, base=step.attempt)
        case StepStatus.UNDO_SUCCESS:
            return replace(
                again,
                status=StepStatus.PENDING,
                base=step.attempt,
                undo_base=step.undo_attempt,
                round=step.round + 1,
                round_base=step.attempt,
                result=None,
                completed_at=None,
                undone_at=None,
            )
        case StepStatus.UNDO_FAIL:
            return replace(again, status=StepStatus.DO_SUCCESS, undo_base=step.undo_attempt)
        case _:
            return step
