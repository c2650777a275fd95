"""Whether a step of a cycle did what it is for."""

from __future__ import annotations

import pytest

from functions.cycle_trigger import decide
from functions.events.cycle import Decisions, Orchestration
from functions.events.sprint import TaskSummary

CYCLE = decide.Cycle("P", "P-S01")


def emitted(**decisions: object) -> Orchestration:
    return Orchestration(project_id="P", decisions=Decisions.model_validate(decisions))


CLOSED = emitted(sprint_closure_triggered=True, sprint_id_to_close="P-S01")
STARTED = emitted(create_new_sprint=True, sprint_id="P-S02")
IDLE = emitted(reasoning="Nothing to do.")


@pytest.mark.parametrize(
    ("answer", "active_id", "problem"),
    [
        (IDLE, None, None),
        (STARTED, "P-S02", None),
        (IDLE, "P-S01", "sprint P-S01 was not closed: Nothing to do."),
        (IDLE, "P-S02", "sprint P-S01 is over and P-S02 is active"),
    ],
    ids=["closed-before", "closed-before-and-started", "still-active", "another"],
)
def test_closing(answer: Orchestration, active_id: str | None, problem: str | None) -> None:
    found = decide.after_closing(CYCLE, answer, active_id).problem
    assert (found or "").startswith(problem or "")
    assert (found is None) == (problem is None)


@pytest.mark.parametrize(("sprint_id", "good"), [("P-S02", True), ("P-S01", False), (None, False)])
def test_starting_needs_another_sprint(sprint_id: str | None, good: bool) -> None:
    assert (decide.after_starting(CYCLE, STARTED, sprint_id).problem is None) == good


@pytest.mark.parametrize(("answer", "good"), [(IDLE, True), (CLOSED, False), (STARTED, False)])
def test_at_last_nothing_is_left_to_do(answer: Orchestration, good: bool) -> None:
    assert (decide.after_all(answer).problem is None) == good


@pytest.mark.parametrize(
    ("completed", "total", "complete"), [(3, 3, True), (2, 3, False), (0, 0, False)]
)
def test_a_cycle_waits_for_all_tasks(completed: int, total: int, complete: bool) -> None:
    summary = TaskSummary(
        total_tasks=total, completed_tasks=completed, pending_tasks=total - completed
    )
    assert (decide.incomplete("P-S01", summary) is None) == complete


@pytest.mark.parametrize(
    ("project", "cron", "warned"),
    [
        ("GEM-001", "0 13 * * 1-5", False),
        ("gem-001", "0 13 * * 1-5", False),
        ("AEG003", "0 08 * * 1-5", True),
    ],
)
def test_a_schedule_is_found_by_the_lower_case_id(project: str, cron: str, warned: bool) -> None:
    found, warnings = decide.schedule_of(project, {"gem-001": "0 13 * * 1-5"})
    assert found == cron
    assert bool(warnings) == warned
