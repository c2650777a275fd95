"""The decision: a run and an input give the new run and the commands to send.

Pure: the clock, the workers and the condition language are handed in. Every input is followed
by the same step: let time out what is due, then go as far forward, or back, as is possible now.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from functions.orchestrator.decide import answers
from functions.orchestrator.decide.draft import Draft
from functions.orchestrator.decide.inputs import (
    Answered,
    CancelRequested,
    Input,
    PauseRequested,
    ResumeRequested,
    RetryRequested,
    UndoRequested,
    Woken,
)
from functions.orchestrator.decide.model import (
    Action,
    Audit,
    CallOutcome,
    Cause,
    Decision,
    Definition,
    Run,
    RunStatus,
    Step,
    StepStatus,
    World,
)
from functions.orchestrator.decide.progress import compensate, go_forward
from functions.orchestrator.decide.timers import expire
from functions.orchestrator.decide.undo import go_back, plan


def begin(
    flow_id: str,
    definition: Definition,
    world: World,
    *,
    payload: Any = None,
    payload_encoding: str = "json",
    who: str | None = None,
    reason: str = "",
) -> Decision:
    """Start a run; it waits where a step has no worker yet."""
    deadline = definition.deadline_s
    run = Run(
        flow_id,
        definition,
        world.now,
        {step.name: Step() for step in definition.steps},
        since=world.now,
        payload=payload,
        payload_encoding=payload_encoding,
        deadline_at=None if deadline is None else world.now + timedelta(seconds=deadline),
    )
    draft = Draft(run, world)
    draft.note("ORCHESTRATION_STARTED", reason, who=who)
    _go_on(draft)
    return draft.decision()


def decide(run: Run, given: Input, world: World) -> Decision:
    """What follows from an input."""
    draft = Draft(run, world)
    match given:
        case Answered():
            registered = world.workers.get(given.step)
            refused = answers.objection(run, given, registered)
            refused = refused or answers.take(draft, given)
            if refused is None and run.status.ended:
                _reopen(draft)
        case Woken():
            refused = None
        case _:
            refused = _operate(draft, given)
    if refused is not None:
        return Decision(run, audits=(_refusal(given, refused),), refused=refused)
    _go_on(draft)
    return draft.decision()


def _go_on(draft: Draft) -> None:
    if draft.run.status.ended:
        return
    expire(draft)
    if draft.forward:
        go_forward(draft)
    if draft.run.status is RunStatus.UNDOING:
        go_back(draft)


def _reopen(draft: Draft) -> None:
    """A late answer has changed a step of a run that had ended: see what there is to undo."""
    held = draft.run.status is RunStatus.FAILED and draft.run.definition.hold_on_failure
    if draft.run.status is not RunStatus.COMPLETED and not held:
        draft.set_run(status=RunStatus.UNDOING, completed_at=None)


def _operate(draft: Draft, given: Input) -> str | None:
    run, now = draft.run, draft.world.now
    match given:
        case PauseRequested(who, why):
            if run.status.ended:
                return f"the run has ended as {run.status}"
            if run.paused_by is not None:
                return f"the run is paused by {run.paused_by} already"
            draft.set_run(paused_by=who, paused_at=now)
            draft.note("WORKFLOW_PAUSED", why, who=who)
        case ResumeRequested(who, why):
            if run.status.ended:
                return f"the run has ended as {run.status}"
            if run.paused_by is None:
                return "the run is not paused"
            _resume(draft, who, why)
        case CancelRequested(who, why):
            if run.status.ended:
                return f"the run has ended as {run.status}; undo it to take it back"
            if run.status is RunStatus.UNDOING:
                return "the run is being undone already"
            draft.note("CANCEL_REQUESTED", why, who=who)
            _resume(draft, who)
            compensate(draft, Cause.CANCEL, f"cancelled by {who}")
        case UndoRequested(who, to, why):
            if problem := _no_undo(run, to):
                return problem
            detail = [*([] if to is None else [f"back to {to}"]), *([why] if why else [])]
            draft.note("UNDO_REQUESTED", ": ".join(detail), who=who)
            _resume(draft, who)
            draft.set_run(undo_to=to)
            for name, step in draft.steps.items():
                draft.steps[name] = _undo_again(step)
            back = "" if to is None else f" back to {to}"
            compensate(draft, Cause.UNDO, f"undone{back} by {who}")
        case RetryRequested(who, reassign, why):
            if problem := _no_retry(run):
                return problem
            draft.note("RETRY_REQUESTED", why, who=who)
            if reassign:
                _reassign(draft, who)
            _retry(draft)
    return None


def _resume(draft: Draft, who: str, why: str = "") -> None:
    """Let a paused run go on; who takes one back means that it goes back now."""
    if draft.run.paused_by is not None:
        draft.set_run(paused_by=None, paused_at=None)
        draft.note("WORKFLOW_RESUMED", why, who=who)


def _no_undo(run: Run, to: str | None) -> str | None:
    if to is not None and to not in run.steps:
        return f"to: {to!r} is no step of {run.definition.name}; it has {', '.join(run.steps)}"
    if run.status is RunStatus.UNDOING:
        return "the run is being undone already"
    found = plan(run, to)
    if run.status.ended and not found.waves:
        return f"nothing is left to undo: the run has ended as {run.status}"
    return None


def _no_retry(run: Run) -> str | None:
    if not run.status.ended:
        return f"the run is {run.status}: it goes on by itself"
    if run.status is RunStatus.COMPLETED:
        return "the run has completed: there is nothing to retry"
    return None


def _undo_again(step: Step) -> Step:
    return answers.started_again(step) if step.status is StepStatus.UNDO_FAIL else step


def _reassign(draft: Draft, who: str) -> None:
    """Assign the undo of steps to the workers that are registered now.

    They cannot know whether it was done, so their command says that it was.
    """
    there = (CallOutcome.SENT, CallOutcome.SUCCESS)
    for name, step in list(draft.steps.items()):
        successor = draft.world.workers.get(name)
        gone = [holder for holder in step.holders if successor not in (None, holder)]
        if successor is None or not gone:
            continue
        calls = tuple(
            call._replace(worker=successor, outcome=CallOutcome.SUCCESS)
            if call.action is Action.DO and call.worker in gone and call.outcome in there
            else call
            for call in step.calls
        )
        draft.set(name, calls=calls)
        draft.note("UNDO_HANDED_OVER", f"from {', '.join(gone)} to {successor}", step=name, who=who)


def _retry(draft: Draft) -> None:
    run, now = draft.run, draft.world.now
    if run.status is RunStatus.UNDO_FAILED:
        for name, step in draft.steps.items():
            draft.steps[name] = _undo_again(step)
        # It goes back because a user wants it: its end asks for no attention.
        cause = run.cause if run.cause is Cause.CANCEL else Cause.UNDO
        draft.set_run(status=RunStatus.UNDOING, cause=cause, completed_at=None)
        return
    for name, step in draft.steps.items():
        draft.steps[name] = answers.started_again(step)
    deadline = run.definition.deadline_s
    draft.set_run(
        status=RunStatus.IN_PROGRESS,
        cause=None,
        reason=None,
        undo_to=None,
        paused_by=None,
        paused_at=None,
        completed_at=None,
        deadline_at=None if deadline is None else now + timedelta(seconds=deadline),
    )


def _refusal(given: Input, reason: str) -> Audit:
    match given:
        case Answered():
            return Audit(
                "ANSWER_REFUSED",
                reason,
                given.step,
                given.action,
                given.attempt,
                given.worker,
            )
        case Woken():
            return Audit("ANSWER_REFUSED", reason)
        case _:
            type_ = type(given).__name__.removesuffix("Requested").upper()
            return Audit(f"{type_}_REFUSED", reason, who=given.who)


def results_of(steps: Mapping[str, Step]) -> dict[str, Any]:
    """What the finished steps answered, by name."""
    return {name: step.result for name, step in steps.items() if step.effect}


def changed(before: Run | None, after: Run) -> list[str]:
    """The steps that a decision has changed; all of a new run."""
    if before is None:
        return list(after.steps)
    return [name for name, step in after.steps.items() if before.steps[name] is not step]
