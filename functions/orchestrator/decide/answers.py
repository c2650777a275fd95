"""Fencing: an answer applies to one flow, step, action and attempt, and to its worker.

Any other answer changes nothing and is audited with the reason. A late success has an effect
nevertheless: its step is undone with the others.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from functions.orchestrator.decide.draft import Draft
from functions.orchestrator.decide.inputs import Answered
from functions.orchestrator.decide.model import Action, Call, CallOutcome, Run, Step, StepStatus
from functions.orchestrator.decide.timers import attempt_failed

Where: TypeAlias = dict[str, Any]

_DOING = (StepStatus.IN_PROGRESS, StepStatus.RETRYING)


def objection(run: Run, answer: Answered, registered: str | None) -> str | None:
    """Return why an answer cannot apply to this run; None when it can.

    `registered`: the worker of the step.
    """
    step = run.steps.get(answer.step)
    if step is None:
        known = ", ".join(run.steps)
        return f"stepName: {answer.step!r} is no step of {run.definition.name}; it has {known}"
    if answer.worker is None:
        if answer.named:
            return "workerName: an answer must say which worker gives it"
    elif answer.worker != registered and answer.worker not in [c.worker for c in step.calls]:
        return f"workerName: {answer.worker!r} has not registered for step {answer.step!r}"
    issued = step.attempt if answer.action is Action.DO else step.undo_attempt
    if issued == 0:
        return f"action: step {answer.step!r} got no command to {answer.action}"
    if answer.attempt is not None and not 1 <= answer.attempt <= issued:
        return f"attempt: {answer.attempt} was never sent; the last one is {issued}"
    call = step.call(answer.action, answer.attempt or issued)
    if call is not None and answer.worker not in (None, call.worker):
        return f"workerName: attempt {call.attempt} was sent to {call.worker}, not {answer.worker}"
    return None


def take(draft: Draft, answer: Answered) -> str | None:
    """Apply an answer, or return why it does not apply."""
    if answer.action is Action.DO:
        return _apply_do(draft, answer)
    return _apply_undo(draft, answer)


def _apply_do(draft: Draft, answer: Answered) -> str | None:
    step = draft.steps[answer.step]
    attempt = answer.attempt or step.attempt
    call, where = step.call(Action.DO, attempt), _where(answer, attempt)
    current = attempt == step.attempt
    if call is None:
        return _too_late(step, attempt, step.attempt)
    if answer.success and current and step.status in _DOING:
        if answer.unstorable is not None:
            # No step can go on without the result, so the step has failed; its effect is there.
            draft.set(
                answer.step,
                status=StepStatus.DO_FAIL,
                calls=step.answered(call, CallOutcome.SUCCESS),
                error=answer.unstorable,
                due_at=None,
            )
            draft.note("STEP_FAILED", f"took effect, but {answer.unstorable}", **where)
            return None
        draft.set(
            answer.step,
            status=StepStatus.DO_SUCCESS,
            calls=step.answered(call, CallOutcome.SUCCESS),
            result=answer.result,
            error=None,
            due_at=None,
            completed_at=draft.world.now,
        )
        draft.note("STEP_SUCCESS", **where)
        return None
    if not answer.success and current and step.status is StepStatus.IN_PROGRESS:
        _failed(draft, answer, call)
        return None
    undone = step.status is StepStatus.UNDO_SUCCESS or call.outcome is CallOutcome.UNDONE
    if answer.success and not undone and not step.done_by(call.worker):
        known = [c.attempt for c in step.calls if c.outcome is CallOutcome.SUCCESS]
        result = step.result if attempt < max(known, default=0) else answer.result
        draft.set(answer.step, calls=step.answered(call, CallOutcome.SUCCESS), result=result)
        draft.note("STEP_SUCCESS_LATE", "took effect after it was given up", **where)
        return None
    return _too_late(step, attempt, step.attempt)


def _apply_undo(draft: Draft, answer: Answered) -> str | None:
    step = draft.steps[answer.step]
    attempt = answer.attempt or step.undo_attempt
    call, where = step.call(Action.UNDO, attempt), _where(answer, attempt)
    current = attempt == step.undo_attempt
    if call is None:
        return _too_late(step, attempt, step.undo_attempt)
    # A success is a fact, of whichever attempt.
    if answer.success and call.worker in step.holders:
        draft.note("UNDO_SUCCESS", **where)
        _undone(draft, answer.step, call)
        return None
    if not answer.success and current and step.status is StepStatus.UNDOING:
        _failed(draft, answer, call)
        return None
    return _too_late(step, attempt, step.undo_attempt)


def _undone(draft: Draft, name: str, call: Call) -> None:
    """Apply a worker's UNDO; another worker may have an effect of the step, too."""
    step = draft.set(name, calls=draft.steps[name].answered(call, CallOutcome.SUCCESS))
    if not step.holders:
        draft.set(
            name,
            status=StepStatus.UNDO_SUCCESS,
            error=None,
            due_at=None,
            undone_at=draft.world.now,
        )
    elif step.status is not StepStatus.UNDOING or step.worker == call.worker:
        draft.steps[name] = _to_be_undone(step)._replace(result=None)


def _failed(draft: Draft, answer: Answered, call: Call) -> None:
    name = answer.step
    draft.set(name, calls=draft.steps[name].answered(call, CallOutcome.FAILED))
    error = answer.error or "the worker gave no reason"
    definition = draft.run.definition.by_name[name]
    attempt_failed(draft, definition, answer.action, error, final=answer.final)


def _where(answer: Answered, attempt: int) -> Where:
    return {
        "step": answer.step,
        "action": answer.action,
        "attempt": attempt,
        "who": answer.worker,
    }


def _too_late(step: Step, attempt: int, last: int) -> str:
    if attempt < last:
        return f"attempt: {attempt} is over, attempt {last} has taken its place"
    return f"too late: the step is {step.status} already"


def started_again(step: Step) -> Step:
    """Return the step for an operator's retry: its attempts are counted from now."""
    again = step._replace(due_at=None, error=None)
    match step.status:
        case StepStatus.DO_FAIL | StepStatus.SKIPPED:
            return again._replace(status=StepStatus.PENDING, base=step.attempt, completed_at=None)
        case StepStatus.UNDO_SUCCESS:
            return again._replace(
                status=StepStatus.PENDING,
                base=step.attempt,
                undo_base=step.undo_attempt,
                round=step.round + 1,
                round_base=step.attempt,
                calls=(),
                result=None,
                completed_at=None,
                undone_at=None,
            )
        case StepStatus.UNDO_FAIL:
            return _to_be_undone(again)
        case _:
            return step


def _to_be_undone(step: Step) -> Step:
    status = StepStatus.DO_SUCCESS if step.effect else StepStatus.DO_FAIL
    return step._replace(status=status, due_at=None, error=None, undo_base=step.undo_attempt)
