"""When a sprint is complete, and how the report writes it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from functions.events.sprint import Sprint, SprintCompleted, SprintStatus, TaskSummary
from functions.sprint_report import decide

SPRINT = Sprint(project_id="P", sprint_id="P-S01", status="in_progress")
NOW = datetime(2025, 8, 29, 13, 30, tzinfo=UTC)


def measured(completed: int, total: int) -> SprintStatus:
    summary = TaskSummary(
        total_tasks=total, completed_tasks=completed, pending_tasks=total - completed
    )
    return decide.measured(SPRINT, summary)


@pytest.mark.parametrize(
    ("completed", "total", "state", "row"),
    [
        (0, 0, "active", "P,P-S01,0,0,0.00"),
        (0, 10, "active", "P,P-S01,10,0,0.00"),
        (1, 10, "active", "P,P-S01,10,1,10.00"),
        (2, 3, "active", "P,P-S01,3,2,66.67"),
        (199, 200, "active", "P,P-S01,200,199,99.50"),
        (99_999, 100_000, "active", "P,P-S01,100000,99999,100.00"),
        (10, 10, "complete", "P,P-S01,10,10,100.00"),
    ],
    ids=["empty", "none", "some", "thirds", "almost", "rounded-up", "all"],
)
def test_completion_is_decided_on_counts(completed: int, total: int, state: str, row: str) -> None:
    status = measured(completed, total)
    assert status.state == state
    assert decide.as_csv([status]).splitlines()[1] == row
    received = [e for e in decide.events([status], [], NOW) if isinstance(e, SprintCompleted)]
    assert len(received) == (state == "complete")


def test_a_project_with_a_comma_keeps_its_column() -> None:
    assert decide.as_csv([decide.no_sprint("A,B")]).splitlines()[1] == '"A,B",N/A,0,0,0.00'


def test_the_report_counts_what_failed() -> None:
    rows = [decide.no_sprint("A"), decide.unreadable("B", None, "away")]
    assert decide.report(rows, NOW).failed == 1


def test_no_request_waits_for_a_report_on_no_project() -> None:
    assert not decide.worth_waiting([])
