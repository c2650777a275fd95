"""What a cycle is, and whether each of its four steps did what it is for: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from functions.events.base import joined
from functions.events.cycle import BacklogGenerated, CycleCompleted, CycleStep, Orchestration
from functions.events.sprint import TaskSummary

DEFAULT_SCHEDULE = "0 08 * * 1-5"
SPRINT_WEEKS = 2
MAX_TASKS = 10


@dataclass(frozen=True)
class Cycle:
    """The cycle that follows a sprint; `sprint_id` is None for a project's very first."""

    project_id: str
    sprint_id: str | None

    @property
    def key(self) -> str:
        """What makes two requests the same cycle.

        >>> Cycle("GEM-001", "GEM-001-S01").key
        'cycle:GEM-001:GEM-001-S01'
        """
        # An id may read like the word for none.
        after = ["first", ""] if self.sprint_id == "first" else [self.sprint_id or "first"]
        return joined(":", "cycle", self.project_id, *after)


@dataclass(frozen=True)
class Verdict:
    """What a step did, as the service describes it; `problem` where it did not do its part."""

    did: list[str] = field(default_factory=list)
    sprint_id: str | None = None
    warnings: list[str] = field(default_factory=list)
    problem: str | None = None


@dataclass(frozen=True)
class Done:
    """A step that did what it is for."""

    name: str
    verdict: Verdict
    took_ms: float


def incomplete(sprint_id: str, summary: TaskSummary) -> str | None:
    """Why a sprint's cycle may not run yet."""
    if summary.is_complete:
        return None
    return (
        f"sprint {sprint_id} is not complete: {summary.completed_tasks} of "
        f"{summary.total_tasks} tasks are done"
    )


def schedule_of(project_id: str, entries: Mapping[str, object]) -> tuple[object, list[str]]:
    """A project's cron, unchecked, and the warnings. Ids are looked up in lower case.

    >>> schedule_of("GEM-001", {"gem-001": "0 09 * * 1-5"})
    ('0 09 * * 1-5', [])
    """
    name = project_id.lower()
    if name in entries:
        return entries[name], []
    return DEFAULT_SCHEDULE, [f"no schedule for project {name}: taking {DEFAULT_SCHEDULE}"]


def options(schedule: str, *, create_cronjob: bool = True) -> dict[str, object]:
    """The options of each request to project-orchestrator, the same in each of the steps."""
    return {
        "create_sprint_if_needed": True,
        "assign_tasks": True,
        "create_cronjob": create_cronjob,
        "schedule": schedule,
        "sprint_duration_weeks": SPRINT_WEEKS,
        "max_tasks_per_sprint": MAX_TASKS,
    }


def closed_by(answer: Orchestration) -> str | None:
    """The sprint that was closed."""
    decisions = answer.decisions
    return decisions.sprint_id_to_close if decisions.sprint_closure_triggered else None


def started_by(answer: Orchestration) -> str | None:
    """The sprint that was started."""
    decisions = answer.decisions
    return (answer.sprint_id or decisions.sprint_id) if decisions.create_new_sprint else None


def good(answer: Orchestration, sprint_id: str | None = None) -> Verdict:
    return Verdict(_did(answer), sprint_id, answer.decisions.warnings)


def after_closing(cycle: Cycle, answer: Orchestration, active_id: str | None) -> Verdict:
    """The answer names no closing of our sprint: fine only if the sprint was closed before."""
    if active_id is None or active_id == started_by(answer):
        return good(answer)
    if active_id == cycle.sprint_id:
        return Verdict(problem=f"sprint {active_id} was not closed: {_why(answer)}")
    return Verdict(
        problem=f"sprint {cycle.sprint_id} is over and {active_id} is active: "
        "its cycle has been run otherwise"
    )


def after_filling(cycle: Cycle, answer: BacklogGenerated) -> Verdict:
    if answer.tasks_count < 1:
        return Verdict(problem=f"no task was generated for {cycle.project_id}: {answer.message}")
    return Verdict([answer.message or f"Generated {answer.tasks_count} tasks"])


def after_starting(cycle: Cycle, answer: Orchestration, sprint_id: str | None) -> Verdict:
    """`sprint_id`: the sprint that was started, or else the one that is active now."""
    if sprint_id is None:
        return Verdict(problem=f"no sprint was started for {cycle.project_id}: {_why(answer)}")
    if sprint_id == cycle.sprint_id:
        return Verdict(problem=f"sprint {sprint_id} is still active: {_why(answer)}")
    return good(answer, sprint_id)


def after_all(answer: Orchestration) -> Verdict:
    """Nothing was left to do: had it closed or started a sprint, step 3 did not hold."""
    closed, started = closed_by(answer), started_by(answer)
    if closed is not None or started is not None:
        left = f"closed {closed}" if closed is not None else f"started {started}"
        return Verdict(problem=f"something was left to do: project-orchestrator {left}")
    return good(answer)


def seen_closed(cycle: Cycle, active_id: str | None) -> Verdict | None:
    """Of a closing that may have been asked for: its sprint is active no more.

    >>> seen_closed(Cycle("P", "P-S01"), "P-S01") is None
    True
    >>> seen_closed(Cycle("P", "P-S01"), None).did
    ['P-S01 is closed']
    """
    if cycle.sprint_id is None or active_id is not None:
        return None
    return Verdict([f"{cycle.sprint_id} is closed"])


def seen_filled(before: int, unassigned: int) -> Verdict | None:
    """Of a backlog that may have been filled: there is more in it than before."""
    added = unassigned - before
    return Verdict([f"The backlog has {added} more tasks than before"]) if added > 0 else None


def seen_started(cycle: Cycle, active_id: str | None) -> Verdict | None:
    """Of a sprint that may have been started: another than the closed one is active."""
    if active_id in (None, cycle.sprint_id):
        return None
    return Verdict([f"{active_id} is active"], active_id)


def completed(
    cycle: Cycle, schedule: str, warnings: Sequence[str], done: Sequence[Done]
) -> CycleCompleted:
    new = next((d.verdict.sprint_id for d in reversed(done) if d.verdict.sprint_id), None)
    all_warnings = [*warnings, *(warning for d in done for warning in d.verdict.warnings)]
    return CycleCompleted(
        project_id=cycle.project_id,
        closed_sprint_id=cycle.sprint_id,
        new_sprint_id=new,
        schedule=schedule,
        steps=[CycleStep(name=d.name, did=d.verdict.did, took_ms=d.took_ms) for d in done],
        warnings=list(dict.fromkeys(all_warnings)),
        took_ms=round(sum(d.took_ms for d in done), 3),
    )


def _did(answer: Orchestration) -> list[str]:
    return answer.actions_taken or [answer.decisions.reasoning or "nothing"]


def _why(answer: Orchestration) -> str:
    return "; ".join(
        [answer.decisions.reasoning or "no reason was given", *answer.decisions.warnings]
    )
