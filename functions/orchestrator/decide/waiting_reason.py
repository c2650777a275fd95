"""Why a run waits: one sentence for every run that has not ended."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from functions.orchestrator.decide.draft import Draft
from functions.orchestrator.decide.model import (
    Action,
    Run,
    RunStatus,
    Step,
    StepDef,
    StepStatus,
    World,
)
from functions.orchestrator.decide.progress import missing_workers
from functions.orchestrator.decide.timers import pause_of
from functions.orchestrator.decide.undo import undoable_steps


def waiting_for(run: Run, workers: Mapping[str, str]) -> str | None:
    """Return what a run waits for and since when; None for one that has ended."""
    if run.status.ended:
        return None
    free = undoable_steps(run)
    parts = [
        sentence
        for definition in run.definition.steps
        if (sentence := _of_step(run, definition, blocked=definition.name not in free))
    ]
    if run.paused_by is not None:
        held = f"It is paused by {run.paused_by} since {format_time(run.paused_at)}"
        return f"{held}; meanwhile {'; '.join(parts)}." if parts else f"{held}."
    started = run.since or run.started_at
    if run.status is not RunStatus.UNDOING:
        missing = missing_workers(Draft(run, World(started, workers)))
        for since, names in _by_since(run, missing).items():
            steps = "step" if len(names) == 1 else "steps"
            parts.append(
                f"no service has registered as worker for {steps} {', '.join(names)}, since {since}"
            )
    if not parts:
        return f"It is about to go on, since {format_time(started)}."
    return f"It waits: {'; '.join(parts)}."


def format_time(at: datetime | None) -> str:
    """Format a time in UTC."""
    return "an unknown time" if at is None else at.strftime("%Y-%m-%d %H:%M:%S UTC")


def _by_since(run: Run, missing: list[str]) -> dict[str, list[str]]:
    """Steps without a worker, by the instant at which they could have gone."""
    found: dict[str, list[str]] = {}
    for name in missing:
        step = run.steps[name]
        before = [run.steps[other].completed_at for other in run.definition.by_name[name].after]
        done = max((at for at in before if at is not None), default=run.since or run.started_at)
        could_go = step.due_at if step.status is StepStatus.RETRYING else done
        found.setdefault(format_time(could_go), []).append(name)
    return found


def _of_step(run: Run, definition: StepDef, *, blocked: bool) -> str | None:
    name = definition.name
    step, due = run.steps[name], format_time(run.steps[name].due_at)
    match step.status:
        case StepStatus.IN_PROGRESS:
            since = format_time(_sent_at(definition, step))
            count = _count(definition, step.attempt - step.base)
            return f"step {name} is with {step.worker} since {since} ({count}, times out {due})"
        case StepStatus.UNDOING:
            since = format_time(_sent_at(definition, step))
            count = _count(definition, step.undo_attempt - step.undo_base)
            maybe = "" if step.effect else ", which may have been done,"
            return (
                f"undo of {name}{maybe} is with {step.worker} since {since}"
                f" ({count}, times out {due})"
            )
        case StepStatus.RETRYING:
            since = format_time(_failed_at(run, definition, Action.DO))
            count = _count(definition, step.attempt - step.base + 1)
            return f"step {name} failed at {since} ({step.error}), {count} starts {due}"
        case StepStatus.UNDO_RETRYING:
            since = format_time(_failed_at(run, definition, Action.UNDO))
            count = _count(definition, step.undo_attempt - step.undo_base + 1)
            starts = "waits for the undo of what builds on it" if blocked else f"starts {due}"
            return f"undo of {name} failed at {since} ({step.error}), {count} {starts}"
        case _:
            return None


def _count(definition: StepDef, number: int) -> str:
    return f"attempt {number} of {definition.retry.attempts}"


def _failed_at(run: Run, definition: StepDef, action: Action) -> datetime | None:
    """When the latest attempt failed: the pause since then is known."""
    step = run.steps[definition.name]
    if step.due_at is None:
        return None
    return step.due_at - timedelta(seconds=pause_of(run.flow_id, definition, step, action))


def _sent_at(definition: StepDef, step: Step) -> datetime | None:
    if step.due_at is None:
        return None
    return step.due_at - timedelta(seconds=definition.timeout_s)
