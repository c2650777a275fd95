"""Why is it waiting? One sentence for every run that has not ended."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from functions.orchestrator.decide.draft import Draft
from functions.orchestrator.decide.model import Run, RunStatus, Step, StepDef, StepStatus, World
from functions.orchestrator.decide.progress import missing_workers


def waiting_for(run: Run, workers: Mapping[str, str]) -> str | None:
    """What an unfinished run waits for and since when; None for one that has ended."""
    if run.status.ended:
        return None
    parts = [
        sentence
        for definition in run.definition.steps
        if (sentence := _of_step(definition, run.steps[definition.name]))
    ]
    if run.paused_by is not None:
        held = f"It is paused by {run.paused_by} since {clock(run.paused_at)}"
        return f"{held}; meanwhile {'; '.join(parts)}." if parts else f"{held}."
    started = run.since or run.started_at
    if run.status is not RunStatus.UNDOING:
        missing = missing_workers(Draft(run, World(started, workers)))
        if missing:
            steps = "step" if len(missing) == 1 else "steps"
            parts.append(
                f"no service has registered as worker for {steps} {', '.join(missing)},"
                f" since {clock(started)}"
            )
    if not parts:
        return f"It is about to go on, since {clock(started)}."
    return f"It waits: {'; '.join(parts)}."


def clock(at: datetime | None) -> str:
    """An instant as people read it, in UTC."""
    return "an unknown time" if at is None else at.strftime("%Y-%m-%d %H:%M:%S UTC")


def _of_step(definition: StepDef, step: Step) -> str | None:
    most, name = definition.retry.attempts, definition.name
    due = clock(step.due_at)
    match step.status:
        case StepStatus.IN_PROGRESS:
            count = f"attempt {step.attempt - step.base} of {most}"
            since = clock(_sent_at(definition, step))
            return f"step {name} is with {step.worker} since {since} ({count}, times out {due})"
        case StepStatus.UNDOING:
            count = f"attempt {step.undo_attempt - step.undo_base} of {most}"
            since = clock(_sent_at(definition, step))
            maybe = "" if step.effect else ", which may have been done,"
            return (
                f"undo of {name}{maybe} is with {step.worker} since {since}"
                f" ({count}, times out {due})"
            )
        case StepStatus.RETRYING:
            count = f"attempt {step.attempt - step.base + 1} of {most}"
            return f"step {name} failed ({step.error}), {count} starts {due}"
        case StepStatus.UNDO_RETRYING:
            count = f"attempt {step.undo_attempt - step.undo_base + 1} of {most}"
            return f"undo of {name} failed ({step.error}), {count} starts {due}"
        case _:
            return None


def _sent_at(definition: StepDef, step: Step) -> datetime | None:
    if step.due_at is None:
        return None
    return step.due_at - timedelta(seconds=definition.timeout_s)
