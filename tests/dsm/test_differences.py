"""The table of what the services answer otherwise than their originals is what they answer."""

from __future__ import annotations

import json
import re

import pytest

from tests.dsm.conftest import Dsm
from tests.support.repository import ROOT

PAGE = ROOT / "functions" / "dsm" / "README.md"
ROW = re.compile(
    r"\| `(?P<method>[A-Z]+) (?P<service>\S+) (?P<at>\S+)(?: (?P<body>\{.*\}))?` \| [^|]+ "
    r"\| (?P<status>\d{3}) `(?P<words>[^`]+)` \| "
)


async def test_each_row_of_the_table_is_answered_as_it_says(dsm: Dsm) -> None:
    await dsm.sprint()
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert len(lines) >= 33
    wrong = []
    for line in lines:
        row = ROW.match(line)
        assert row is not None, line
        body = json.loads(row["body"]) if row["body"] else None
        answer = await dsm.call(row["method"], row["service"], row["at"], json=body)
        if answer.status_code != int(row["status"]) or row["words"] not in answer.text:
            wrong.append(f"{line}\n  {answer.status_code} {answer.text}")
    assert wrong == []


@pytest.mark.parametrize(
    ("service", "at"),
    [
        ("backlog-service", "/tasks/GEM-001-TASK001"),
        ("sprint-service", "/tasks/GEM-001-TASK001/progress"),
    ],
)
async def test_a_change_of_nothing_is_refused_in_a_text(dsm: Dsm, service: str, at: str) -> None:
    await dsm.sprint()
    method = "PUT" if service == "backlog-service" else "POST"
    assert isinstance((await dsm.call(method, service, at, json={})).json()["detail"], str)


async def test_what_callers_of_the_originals_read_is_there(dsm: Dsm) -> None:
    employee = {"employee_id": "E1", "employee_name": "Ada"}
    made = await dsm.post("project-service", "/employees", employee)
    assert made | employee == made
    await dsm.sprint()
    found = await dsm.get("project-service", "/employees/GEM-001-E0")
    assert (found["project_assign"], found["active"], found["assigned_projects"]) == (
        *(True, True),
        ["GEM-001"],
    )
    assert await dsm.get("chronicle-service", "/v1/health") == {"status": "ok"}
    ready = await dsm.get("backlog-service", "/health/ready")
    assert list(ready["external_apis"]) == ["project_service"]

    await dsm.post("project-orchestrator", "/orchestrate/project/GEM-001", {"action": "other"})
    await dsm.finish("GEM-001-S01")
    await dsm.orchestrate()
    notes = "/v1/notes"
    (planning,) = await dsm.get("chronicle-service", f"{notes}/sprint_planning")
    assert {"summary", "report_date", "correlation_id"} <= planning.keys()
    (retrospective,) = await dsm.get("chronicle-service", f"{notes}/sprint_retrospective")
    assert {"retrospective_id", "action_items", "facilitator_id"} <= retrospective.keys()
    audit = (await dsm.get("chronicle-service", f"{notes}/decision_audit"))[0]
    assert {"audit_id", "base_decision", "combined_reasoning"} <= audit.keys()

    at = "/orchestrate/project/GEM-001/cronjob/no-such"
    gone = await dsm.call("DELETE", "project-orchestrator", at)
    assert (gone.json()["cronjob_name"], gone.json()["status"]) == ("no-such", "not_found")
