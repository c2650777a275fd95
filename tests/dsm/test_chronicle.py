"""Exactly one report for a sprint and day, and how reports are read."""

from __future__ import annotations

import asyncio

from tests.dsm.conftest import Dsm

REPORT = "/v1/notes/daily_scrum_report"


def report(
    day: str = "2026-03-02", sprint: str = "GEM-001-S01", **more: object
) -> dict[str, object]:
    task = {
        "id": "T1",
        "yesterday_work": "w",
        "today_work": "t",
        "impediments": "None reported.",
        "created_at": f"{day}T14:00:00.123456Z",
        "progress_percentage": 40,
    }
    return {
        "project_id": "GEM-001",
        "sprint_id": sprint,
        "report_date": day,
        "summary": "s",
        "summary_metrics": {
            "total_team_members": 1,
            "total_tasks": 2,
            "completed_tasks": 0,
            "pending_tasks": 2,
        },
        "reports": {day: [{"assigned_to": "E1", "tasks": [task]}]},
        **more,
    }


async def test_there_is_one_daily_report_for_a_sprint_and_day(dsm: Dsm) -> None:
    first = await dsm.post("chronicle-service", REPORT, report(), key="k1")
    same_key = await dsm.post("chronicle-service", REPORT, report(summary="later"), key="k1")
    same_text = await dsm.post("chronicle-service", REPORT, report(), key="k2")

    assert first == same_key == same_text
    other = report(summary="other")
    message = await dsm.refused(409, "POST", "chronicle-service", REPORT, json=other)
    assert first["note_id"] in message
    assert len(await dsm.get("chronicle-service", f"{REPORT}/notes")) == 1


async def test_reports_at_once_are_one_note(dsm: Dsm) -> None:
    answers = await asyncio.gather(
        *(dsm.post("chronicle-service", REPORT, report(), key=f"k{n}") for n in range(4))
    )
    assert len({answer["note_id"] for answer in answers}) == 1


async def test_reading_a_report_merges_a_days_tasks_per_employee(dsm: Dsm) -> None:
    tasks = [{"id": f"T{n}", "created_at": f"2026-03-02T14:00:0{n}Z"} for n in range(3)]
    entries = [
        {"assigned_to": "E1", "tasks": tasks[:1]},
        {"assigned_to": "E1", "tasks": tasks[1:2]},
        {"tasks": tasks[2:]},
    ]
    await dsm.post(
        "chronicle-service", REPORT, report(reports={"2026-03-02": entries}, summary=None)
    )

    query = {"sprint_id": "GEM-001-S01", "daily_scrum_date": "2026-03-02"}
    found = await dsm.get("chronicle-service", REPORT, **query)

    assert found["reports"] == {
        "2026-03-02": [
            {"employee_id": "E1", "tasks": tasks[:2]},
            {"employee_id": "unassigned", "tasks": tasks[2:]},
        ]
    }
    assert found["summary"] == "No Holiday or PTO reported for this daily stand-up"
    assert found["summary_metrics"]["total_tasks"] == 2
    assert (found["project_id"], found["sprint_id"]) == ("GEM-001", "GEM-001-S01")


async def test_a_burndown_has_a_day_for_each_report(dsm: Dsm) -> None:
    for day in ("2026-03-03", "2026-03-02"):
        await dsm.post("chronicle-service", REPORT, report(day))
    at = "/v1/analytics/sprint/GEM-001-S01/burndown"
    found = await dsm.get("chronicle-service", at)
    assert [(d["date"], d["remaining"]) for d in found["days"]] == [
        ("2026-03-02", 0.6),
        ("2026-03-03", 0.6),
    ]
