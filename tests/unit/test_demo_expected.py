"""What must come of each stage of the morning."""

from __future__ import annotations

from typing import Any

import pytest

from knative.demo import expected

ACTIVE = {"project_id": "A", "sprint_id": "A-S01", "state": "active"}
COMPLETE = {"project_id": "B", "sprint_id": "B-S01", "state": "complete"}
NONE = {"project_id": "C", "sprint_id": None, "state": "no-sprint"}
UNREAD = {"project_id": "D", "sprint_id": None, "state": "error", "detail": "it is away"}


def reported(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"sprints": list(rows)}]


@pytest.mark.parametrize(
    ("reports", "finished", "problem"),
    [
        ([], None, "no sprint report came"),
        (reported(ACTIVE, NONE), None, None),
        (reported(ACTIVE, UNREAD), None, "sprint-report could not read D: it is away"),
        (reported(COMPLETE), "B-S01", None),
        (reported(ACTIVE), "A-S01", "A-S01 has every task done"),
    ],
    ids=["nothing", "no sprint is no error", "unread", "finished", "finished and not reported"],
)
def test_a_report_reads_every_project(
    reports: list[dict[str, Any]], finished: str | None, problem: str | None
) -> None:
    found = expected.report(reports, finished)
    assert found == problem if problem is None else str(found).startswith(problem)


@pytest.mark.parametrize(
    ("reports", "closed", "problem"),
    [
        (reported(ACTIVE), [], None),
        (reported(COMPLETE), ["B-S01"], None),
        (reported(COMPLETE), ["X-S01"], "no cycle was completed for B-S01"),
    ],
    ids=["none is due", "done", "not done"],
)
def test_each_complete_sprint_has_its_cycle(
    reports: list[dict[str, Any]], closed: list[str], problem: str | None
) -> None:
    assert expected.cycles(reports, [{"closed_sprint_id": s} for s in closed]) == problem


@pytest.mark.parametrize(
    ("in_progress", "filed", "problem"),
    [
        ([], [], None),
        (["A-S01"], ["A-S01"], None),
        (["A-S01", "B-S02", "C-S01"], ["B-S02"], "no daily report was filed for A-S01, C-S01"),
    ],
    ids=["none is due", "filed", "not filed"],
)
def test_each_sprint_in_progress_has_its_daily_report(
    in_progress: list[str], filed: list[str], problem: str | None
) -> None:
    assert expected.scrums(in_progress, [{"sprint_id": s} for s in filed]) == problem
