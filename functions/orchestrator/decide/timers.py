"""Timers: delays between attempts, timeouts, and the run's next timer.

A timer may fire early: the run then handles what is due by its clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from functions.orchestrator.decide.draft import Draft
from functions.orchestrator.decide.model import (
    IN_FLIGHT,
    Action,
    Retry,
    Run,
    RunStatus,
    Step,
    StepDef,
    StepStatus,
)
from functions.orchestrator.decide.undo import undoable_steps


def pause_s(retry: Retry, failures: int, seed: str) -> float:
    """Return the seconds before the attempt that follows `failures` failed ones.

    Jitter is derived from `seed`, so that a repeated decision is the same.

    >>> [pause_s(Retry(backoff_s=1, jitter=0), n, "") for n in (1, 2, 3)]
    [1.0, 2.0, 4.0]
    >>> pause_s(Retry(backoff_s=10, max_s=15, jitter=0), 5, "")
    15.0
    >>> 0.8 <= pause_s(Retry(backoff_s=1, jitter=0.2), 1, "flow/step/1") <= 1.2
    True
    """
    pause = min(retry.max_s, retry.backoff_s * retry.factor ** min(failures - 1, 64))
    if not retry.jitter:
        return float(pause)
    draw = int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=4).digest()) / 2**32
    return float(pause * (1 + retry.jitter * (2 * draw - 1)))


def pause_of(flow_id: str, definition: StepDef, step: Step, action: Action) -> float:
    """Return the seconds between the failure of a step's latest attempt and the next one."""
    do = action is Action.DO
    number, base = (step.attempt, step.base) if do else (step.undo_attempt, step.undo_base)
    seed = f"{flow_id}/{definition.name}/{action}/{number}"
    return pause_s(definition.retry, number - base, seed)


def is_final(retry: Retry, error: str) -> bool:
    """Does the policy exclude a retry after this error?

    >>> is_final(Retry(final=("Invalid*", "*quota*")), "over quota for tenant 7")
    True
    >>> is_final(Retry(final=("Invalid*",)), "connection reset")
    False
    """
    return any(fnmatchcase(error, pattern) for pattern in retry.final)


def next_due(run: Run, workers: Mapping[str, str]) -> datetime | None:
    """Return when the run's next timer is due; None without one.

    A step that waits for a worker, an operator or another step has no timer; their event wakes it.
    """
    if run.status.ended:
        return None
    again = _retrying_steps(run, workers)
    due = [
        step.due_at
        for name, step in run.steps.items()
        if step.due_at is not None and (step.status in IN_FLIGHT or name in again)
    ]
    if run.deadline_at is not None and _forward(run):
        due.append(run.deadline_at)
    return min(due, default=None)


def _retrying_steps(run: Run, workers: Mapping[str, str]) -> set[str]:
    """Return the steps whose next attempt starts when it is due."""
    if run.paused_by is not None:
        return set()
    if run.status is RunStatus.UNDOING:
        free = undoable_steps(run)
        return {n for n in free if run.steps[n].status is StepStatus.UNDO_RETRYING}
    if not _forward(run):
        return set()
    return {n for n, s in run.steps.items() if s.status is StepStatus.RETRYING and n in workers}


def _forward(run: Run) -> bool:
    """Does it go forward? After a failure a run on hold awaits its steps in flight only."""
    failed = any(step.status is StepStatus.DO_FAIL for step in run.steps.values())
    return run.status is not RunStatus.UNDOING and not failed


def attempt_failed(
    draft: Draft, definition: StepDef, action: Action, error: str, *, final: bool
) -> None:
    """Fail an attempt: schedule a retry, or fail the action for good.

    A run that compensates does not retry a DO.
    """
    name, step, retry = definition.name, draft.steps[definition.name], definition.retry
    do = action is Action.DO
    number, base = (step.attempt, step.base) if do else (step.undo_attempt, step.undo_base)
    failures = number - base
    where = {"step": name, "action": action, "attempt": number}
    draft.note("STEP_FAILED" if do else "UNDO_FAILED", error, **where)
    exhausted = final or failures >= retry.attempts or is_final(retry, error)
    if exhausted or (do and not draft.forward):
        status = StepStatus.DO_FAIL if do else StepStatus.UNDO_FAIL
        draft.set(name, status=status, due_at=None, error=error)
        if exhausted:
            why = "the error is final" if failures < retry.attempts else f"{failures} attempts"
            draft.note("RETRY_EXHAUSTED", why, **where)
        return
    pause = pause_of(draft.run.flow_id, definition, step, action)
    due_at = draft.world.now + timedelta(seconds=pause)
    status = StepStatus.RETRYING if do else StepStatus.UNDO_RETRYING
    draft.set(name, status=status, due_at=due_at, error=error)
    draft.note("STEP_RETRY_TRIGGERED", f"again in {pause:.1f} s", **where)


def expire(draft: Draft) -> None:
    """Fail the attempts whose timeout has passed."""
    now = draft.world.now
    for definition in draft.run.definition.steps:
        step = draft.steps[definition.name]
        if step.due_at is None or step.due_at > now:
            continue
        error = f"no answer from {step.worker} within {definition.timeout_s:g} s"
        if step.status is StepStatus.IN_PROGRESS:
            attempt_failed(draft, definition, Action.DO, error, final=False)
        elif step.status is StepStatus.UNDOING:
            attempt_failed(draft, definition, Action.UNDO, error, final=False)
