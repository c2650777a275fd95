"""Compensation: undo the steps with an effect in reverse order of the graph, and list the rest.

A step is undone once no step that depends on it is done or in flight. Steps in flight are awaited
up to their timeout, and undone then too: a missing answer may hide an effect. A step that succeeds
late, even after the run has ended, is undone too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from functions.orchestrator.decide.draft import Draft
from functions.orchestrator.decide.model import (
    IN_FLIGHT,
    Action,
    Cause,
    Definition,
    Run,
    RunStatus,
    Step,
    StepStatus,
)


@dataclass(frozen=True)
class Plan:
    """The plan of an undo: waves of steps that are undone together, and those that are kept.

    `unsure`: steps without an answer, which may have an effect and are undone too.
    """

    waves: tuple[tuple[str, ...], ...]
    kept: tuple[str, ...]
    awaited: tuple[str, ...]
    unsure: tuple[str, ...]


def plan(run: Run, to: str | None) -> Plan:
    """Return the plan of undoing this run, all of it or back to the step `to`."""
    due = _due(run.definition, run.steps, to)
    waves = []
    left = set(due)
    while left:
        wave = [n for n in left if not run.definition.behind[n] & left]
        waves.append(tuple(s.name for s in run.definition.steps if s.name in wave))
        left -= set(wave)
    in_flight = [n for n, step in run.steps.items() if step.status is StepStatus.IN_PROGRESS]
    kept = [n for n, step in run.steps.items() if step.effect and n not in due]
    unsure = [n for n, step in run.steps.items() if n in due and not step.effect]
    return Plan(tuple(waves), tuple(kept), tuple(in_flight), tuple(unsure))


def go_back(draft: Draft) -> None:
    """Undo the steps that are ready in a run that compensates; end it when none is left."""
    run, now = draft.run, draft.world.now
    due = _due(run.definition, draft.steps, run.undo_to)
    for definition in run.definition.steps:
        name = definition.name
        step = draft.steps[name]
        if name not in due or run.paused_by is not None:
            continue
        if step.status in IN_FLIGHT or step.status is StepStatus.UNDO_FAIL:
            continue
        if step.status is StepStatus.UNDO_RETRYING and step.due_at and step.due_at > now:
            continue
        if _blocked(run.definition, draft.steps, due, name):
            continue
        draft.send(definition, Action.UNDO)
    if _over(draft, due):
        _end(draft, due)


def undoable_steps(run: Run) -> set[str]:
    """Return the steps to undo on which no other such step depends."""
    due = _due(run.definition, run.steps, run.undo_to)
    return {name for name in due if not _blocked(run.definition, run.steps, due, name)}


def left_to_undo(run: Run) -> list[str]:
    """Return the steps that an ended undo could not undo, in the order of the definition."""
    due = _due(run.definition, run.steps, run.undo_to)
    return [step.name for step in run.definition.steps if step.name in due]


def _due(definition: Definition, steps: Mapping[str, Step], to: str | None) -> frozenset[str]:
    """Return the steps to undo: those with a known or possible effect."""
    stays = frozenset() if to is None else definition.before[to] | {to}
    return frozenset(
        step.name
        for step in definition.steps
        if step.undo and steps[step.name].holders and step.name not in stays
    )


def _blocked(
    definition: Definition, steps: Mapping[str, Step], due: frozenset[str], name: str
) -> bool:
    """Does a step that depends on it have to be undone first?"""
    return any(
        other in due or steps[other].status is StepStatus.IN_PROGRESS
        for other in definition.behind[name]
    )


def _over(draft: Draft, due: frozenset[str]) -> bool:
    """Is no step in flight, and every other one failed to undo or blocked by one that failed?"""
    if any(step.status in IN_FLIGHT for step in draft.steps.values()):
        return False
    stuck = {n for n in due if draft.steps[n].status is StepStatus.UNDO_FAIL}
    return all(n in stuck or draft.run.definition.behind[n] & stuck for n in due)


def _end(draft: Draft, due: frozenset[str]) -> None:
    run = draft.run
    if due:
        names = ", ".join(d.name for d in run.definition.steps if d.name in due)
        status, type_, detail = RunStatus.UNDO_FAILED, "UNDO_FAILED", f"left: {names}"
    elif run.cause is Cause.CANCEL:
        status, type_, detail = RunStatus.CANCELLED, "ORCHESTRATION_CANCELLED", ""
    elif run.cause is Cause.UNDO or any(
        step.status is StepStatus.UNDO_SUCCESS for step in draft.steps.values()
    ):
        status, type_, detail = RunStatus.UNDONE, "UNDO_COMPLETED", ""
    else:
        status, type_, detail = RunStatus.FAILED, "ORCHESTRATION_FAILED", run.reason or ""
    draft.set_run(status=status, completed_at=draft.world.now)
    draft.note(type_, detail)
