"""Progress: start ready steps, complete the run, compensate when a step has failed."""

from __future__ import annotations

from functions.orchestrator.decide.draft import Draft
from functions.orchestrator.decide.model import (
    IN_FLIGHT,
    SETTLED,
    Action,
    Cause,
    Definition,
    RunStatus,
    Step,
    StepDef,
    StepStatus,
)


def go_forward(draft: Draft) -> None:
    """Advance a run that does not compensate."""
    run, now = draft.run, draft.world.now
    if failed := _failed(draft):
        _fail(draft, failed)
        return
    late = run.deadline_at is not None and run.deadline_at <= now
    if run.paused_by is None and not late:
        _start_ready(draft)
        if failed := _failed(draft):  # a condition that cannot be evaluated
            _fail(draft, failed)
            return
    if all(step.status in SETTLED for step in draft.steps.values()):
        draft.set_run(status=RunStatus.COMPLETED, completed_at=now, reason=None)
        draft.note("ORCHESTRATION_COMPLETED")
    elif late:
        compensate(draft, Cause.DEADLINE, f"not done within {run.definition.deadline_s:g} s")
    elif missing_workers(draft) and not _busy(draft):
        draft.set_run(status=RunStatus.WAITING)
    elif draft.run.status is RunStatus.WAITING and _begun(draft):
        draft.set_run(status=RunStatus.IN_PROGRESS)


def compensate(draft: Draft, cause: Cause, reason: str) -> None:
    """Start the compensation; steps that wait for a retry have failed."""
    draft.set_run(status=RunStatus.UNDOING, cause=cause, reason=reason, completed_at=None)
    draft.note("ROLLBACK_STARTED", reason)
    for name, step in draft.steps.items():
        if step.status is StepStatus.RETRYING:
            draft.set(name, status=StepStatus.DO_FAIL, due_at=None)


def missing_workers(draft: Draft) -> list[str]:
    """Return the steps that cannot start because no service has registered for them.

    A run starts only when every step has a worker.
    """
    begun = _begun(draft)
    return [
        definition.name
        for definition in draft.run.definition.steps
        if definition.name not in draft.world.workers
        and draft.steps[definition.name].status in _TO_SEND
        and (not begun or _ready(draft.run.definition, draft.steps, definition.name))
    ]


_TO_SEND = (StepStatus.PENDING, StepStatus.RETRYING)


def _failed(draft: Draft) -> list[str]:
    steps = draft.run.definition.steps
    return [one.name for one in steps if draft.steps[one.name].status is StepStatus.DO_FAIL]


def _fail(draft: Draft, failed: list[str]) -> None:
    error = draft.steps[failed[0]].error
    reason = f"step {failed[0]} failed: {error}"
    if not draft.run.definition.hold_on_failure:
        compensate(draft, Cause.FAILURE, reason)
    elif not any(step.status in IN_FLIGHT for step in draft.steps.values()):
        for name, step in draft.steps.items():
            if step.status is StepStatus.RETRYING:
                draft.set(name, status=StepStatus.DO_FAIL, due_at=None)
        draft.set_run(
            status=RunStatus.FAILED,
            cause=Cause.FAILURE,
            reason=reason,
            completed_at=draft.world.now,
        )
        draft.note("ORCHESTRATION_FAILED", reason)


def _start_ready(draft: Draft) -> None:
    if not _begun(draft) and missing_workers(draft):
        return
    definition, now = draft.run.definition, draft.world.now
    again = True
    while again:  # a skipped step may make others ready
        again = False
        for one in definition.steps:
            step = draft.steps[one.name]
            if step.status is StepStatus.RETRYING:
                if step.due_at is not None and step.due_at <= now:
                    _send_if_registered(draft, one.name)
            elif step.status is StepStatus.PENDING and _ready(definition, draft.steps, one.name):
                try:
                    wanted = one.when is None or draft.world.holds(one.when, _facts(draft))
                except ValueError as error:
                    _cannot_tell(draft, one, error)
                    return
                if wanted:
                    _send_if_registered(draft, one.name)
                else:
                    draft.set(one.name, status=StepStatus.SKIPPED, completed_at=now)
                    draft.note("STEP_SKIPPED", f"condition: {one.when}", step=one.name)
                    again = True


def _cannot_tell(draft: Draft, one: StepDef, error: ValueError) -> None:
    """Fail a step whose condition says nothing: to skip it would be a guess."""
    reason = f"condition {one.when!r} cannot be evaluated: {error}"
    draft.set(one.name, status=StepStatus.DO_FAIL, error=reason)
    draft.note("STEP_FAILED", reason, step=one.name)


def _send_if_registered(draft: Draft, name: str) -> None:
    if name in draft.world.workers:
        draft.send(draft.run.definition.by_name[name], Action.DO)


def _facts(draft: Draft) -> dict[str, object]:
    results = {n: s.result for n, s in draft.steps.items() if s.status is StepStatus.DO_SUCCESS}
    return {"payload": draft.run.payload, "results": results}


def _ready(definition: Definition, steps: dict[str, Step], name: str) -> bool:
    return all(steps[before].status in SETTLED for before in definition.by_name[name].after)


def _begun(draft: Draft) -> bool:
    return any(step.status is not StepStatus.PENDING for step in draft.steps.values())


def _busy(draft: Draft) -> bool:
    return any(
        step.status in IN_FLIGHT
        or (step.status is StepStatus.RETRYING and name in draft.world.workers)
        for name, step in draft.steps.items()
    )
