"""Bad input is answered 404, 409 or 422 with a reason, and never 500."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from functions.kit.clients.service import header_key
from tests.dsm.conftest import TARGETS, Dsm

Case = tuple[int, str, str, str, Any, str]

PROJECT = {"id": "P", "name": "n", "description": "", "status": "inactive"}
SPRINT = {"sprint_name": "s", "duration_weeks": 2}
METRICS = {"total_team_members": 1, "total_tasks": 1, "completed_tasks": 0, "pending_tasks": 1}

CASES: list[Case] = [
    (404, "GET", "project-service", "/projects/none", None, "Project none not found"),
    (404, "PUT", "project-service", "/projects/none/status", {"status": "x"}, "none not found"),
    (404, "GET", "project-service", "/projects/none/team-members", None, "none not found"),
    (404, "GET", "project-service", "/employees/none", None, "Employee none not found"),
    (404, "GET", "project-service", "/teams/none/members", None, "Project none not found"),
    (409, "POST", "project-service", "/projects", PROJECT | {"id": "GEM-001"}, "already exists"),
    (409, "POST", "project-service", "/employees", {"id": "GEM-001-E0", "name": ""}, "exists"),
    (422, "POST", "project-service", "/projects", {"id": "P"}, "name"),
    (422, "POST", "project-service", "/projects", PROJECT | {"id": "a/b"}, "id"),
    (422, "POST", "project-service", "/projects", PROJECT | {"id": "x" * 201}, "id"),
    (422, "POST", "project-service", "/projects", PROJECT | {"name": "a\0b"}, "name"),
    (422, "POST", "project-service", "/employees", {"id": "E", "name": "", "age": 999}, "age"),
    (422, "POST", "project-service", "/projects/GEM-001/team-members-assign", {}, "employee_ids"),
    (
        *(404, "POST", "project-service", "/projects/GEM-001/team-members-assign"),
        *({"employee_ids": ["GEM-001-E0", "X1"]}, "Employees not found: X1"),
    ),
    (422, "GET", "project-service", "/projects/GEM-001/availability/check", None, "start_date"),
    (
        *(422, "GET", "project-service"),
        "/projects/GEM-001/availability/check?start_date=2026-02-02&end_date=2026-01-01",
        *(None, "end_date must not be before start_date"),
    ),
    (
        *(404, "POST", "project-service", "/projects/GEM-001/calendar/pto?employee_id=X1"),
        *({"start_date": "2026-01-01", "end_date": "2026-01-02"}, "not on the team"),
    ),
    (
        *(422, "POST", "project-service", "/projects/GEM-001/calendar/pto?employee_id=GEM-001-E0"),
        *({"start_date": "2026-01-02", "end_date": "2026-01-01"}, "end_date"),
    ),
    (404, "DELETE", "project-service", "/projects/GEM-001/calendar/pto/x", None, "not found"),
    (404, "GET", "sprint-service", "/sprints/none", None, "Sprint none not found"),
    (404, "GET", "sprint-service", "/sprints/none/tasks", None, "Sprint none not found"),
    (404, "GET", "sprint-service", "/sprints/none/task-summary", None, "Sprint none not found"),
    (404, "GET", "sprint-service", "/sprints/active/none", None, "No active sprint found."),
    (404, "POST", "sprint-service", "/sprints/none", SPRINT, "Project none not found"),
    (404, "POST", "sprint-service", "/sprints/none/close", None, "Sprint none not found"),
    (409, "POST", "sprint-service", "/sprints/GEM-001", SPRINT, "GEM-001-S01 is in progress"),
    (409, "POST", "sprint-service", "/sprints/EMPTY", SPRINT, "No unassigned tasks"),
    (422, "POST", "sprint-service", "/sprints/GEM-001", {"sprint_name": "s"}, "duration_weeks"),
    (422, "POST", "sprint-service", "/sprints/GEM-001", SPRINT | {"duration_weeks": 0}, "weeks"),
    (404, "POST", "sprint-service", "/tasks/none/progress", {"status": "x"}, "none not found"),
    *(
        (422, "POST", "sprint-service", "/tasks/GEM-001-TASK001/progress", body, "progress")
        for body in (
            {},
            {"progress_percentage": 250},
            {"progress_percentage": -5},
            {"progress_percentage": "half"},
        )
    ),
    (
        *(404, "POST", "sprint-service", "/sprints/GEM-001-S01/progress"),
        *({"moves": [{"task_id": "X", "progress_made": 5}]}, "Not in sprint GEM-001-S01: X"),
    ),
    (
        *(422, "POST", "sprint-service", "/sprints/GEM-001-S01/progress"),
        *({"moves": [{"task_id": "X", "progress_made": 5}] * 2}, "each task once"),
    ),
    (404, "POST", "backlog-service", "/backlogs/none", None, "Project none not found"),
    (404, "GET", "backlog-service", "/tasks/none", None, "Task none not found"),
    (404, "PUT", "backlog-service", "/tasks/none", {"status": "x"}, "Task none not found"),
    (422, "PUT", "backlog-service", "/tasks/GEM-001-TASK001", {}, "at least one of title"),
    (422, "PUT", "backlog-service", "/tasks/GEM-001-TASK001", {"stat": "x"}, "stat"),
    (422, "PUT", "backlog-service", "/tasks/T", {"progress_percentage": 101}, "progress"),
    (
        *(409, "POST", "backlog-service", "/tasks"),
        *({"task_id": "GEM-001-TASK001", "project_id": "GEM-001", "title": "t"}, "exists"),
    ),
    (400, "POST", "backlog-service", "/events", {"task_id": "x"}, "missing"),
    (404, "POST", "daily-scrum-service", "/scrums/none/run", None, "Sprint none not found"),
    (404, "GET", "chronicle-service", "/v1/notes/daily_scrum_report", None, "No daily scrum"),
    (
        *(422, "GET", "chronicle-service"),
        *("/v1/notes/daily_scrum_report?daily_scrum_date=soon", None, "daily_scrum_date"),
    ),
    (
        *(422, "POST", "chronicle-service", "/v1/notes/daily_scrum_report"),
        *({"employee_id": "E1", "yesterday_work": "w", "project_id": "P"}, "reports"),
    ),
    (
        *(422, "POST", "chronicle-service", "/v1/notes/daily_scrum_report"),
        {"project_id": "P", "reports": {}, "summary_metrics": METRICS | {"total_tasks": -1}},
        "total_tasks",
    ),
    (404, "GET", "chronicle-service", "/v1/notes/sprint_retrospective", None, "No sprint retro"),
    (404, "POST", "project-orchestrator", "/orchestrate/project/none", {}, "none not found"),
    (422, "POST", "project-orchestrator", "/orchestrate/project/GEM-001", None, "body"),
    *(
        (
            *(422, "POST", "project-orchestrator", "/orchestrate/project/GEM-001"),
            *({"options": options}, next(iter(options))),
        )
        for options in (
            {"schedule": "whenever"},
            {"schedule": "61 * * * *"},
            {"sprint_duration_weeks": 0},
            {"max_tasks_per_sprint": 0},
        )
    ),
]


async def test_what_is_wrong_is_reported_with_the_right_status(dsm: Dsm) -> None:
    await dsm.sprint()
    await dsm.project("EMPTY")
    wrong = []
    for status, method, service, at, body, message in CASES:
        answer = await dsm.call(method, service, at, json=body)
        if answer.status_code != status or message not in answer.text:
            wrong.append(f"{method} {service}{at} {body}: {answer.status_code} {answer.text}")
    assert wrong == []


IDS = ("x", "a\0b", "\n", "é漢🎉", "a b%20c", "'; DROP TABLE tasks; --", "x" * 300, "..", "%")
BODIES: tuple[bytes, ...] = (
    b"",
    b"{",
    b"[]",
    b"null",
    b'"text"',
    b"\xff\xfe",
    b'{"a": NaN, "duration_weeks": NaN, "progress_percentage": Infinity, "age": NaN}',
    b'{"id": "\\ud800", "sprint_name": "\\ud800", "status": "\\ud800"}',
    b'{"duration_weeks": 99999999999999999999, "progress_percentage": 9e999}',
    b"[" * 3000,
    json.dumps({"project_id": "\0", "reports": {"2026-01-01": [{"tasks": None}]}}).encode(),
    json.dumps(
        {
            "project_id": "P",
            "reports": {},
            "orchestration_decision_details": {"a\0": "\0"},
        }
    ).encode(),
)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.__dict__["api"].name)
async def test_no_route_answers_500_to_odd_ids_and_bodies(dsm: Dsm, target: Any) -> None:
    api = target.__dict__["api"]
    service = api.name.replace("_", "-")
    failed = []
    for path, methods in api.build().openapi()["paths"].items():
        for method in methods:
            for odd in IDS:
                at = "/".join(quote(odd, safe="") if "{" in s else s for s in path.split("/"))
                for body in BODIES if method in ("post", "put") else (b"",):
                    answer = await dsm.call(
                        *(method.upper(), service, at),
                        content=body,
                        params={"limit": odd[:30], "status": odd, "employee_id": odd},
                    )
                    plain = await dsm.call(method.upper(), service, at, content=body)
                    failed += [
                        f"{method} {at} {body[:60]!r}: {a.status_code} {a.text[:200]}"
                        for a in (answer, plain)
                        if a.status_code >= 500
                    ]
    assert failed == []


@pytest.mark.parametrize("id", [".", ".."])
async def test_an_id_that_a_url_loses_is_refused(dsm: Dsm, id: str) -> None:
    escaped = id.replace(".", "%2e")  # as httpx leaves it
    for answer in (
        await dsm.call("GET", "project-service", f"/projects/{escaped}"),
        await dsm.call(
            "POST",
            "project-service",
            "/projects/GEM-001/team-members-assign",
            json={"employee_ids": [id]},
        ),
        await dsm.call("GET", "sprint-service", f"/sprints/by-project/{escaped}"),
        await dsm.call(
            "GET", "chronicle-service", "/v1/notes/sprint_planning", params={"project_id": id}
        ),
    ):
        assert answer.status_code == 422, f"{answer.url}: {answer.text}"
        assert "a URL loses it" in answer.text


async def test_an_odd_idempotency_key_is_refused_or_taken(dsm: Dsm) -> None:
    for key, status in (("k" * 255, 201), ("k" * 256, 422), ("ä", 201)):
        body = PROJECT | {"id": f"P{len(key)}{status}"}
        async with dsm.cluster.client("project-service") as client:
            headers = [(b"Idempotency-Key", key.encode("latin-1"))]
            answer = await client.post("/projects", json=body, headers=headers)
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize("name", ["cycle:GEM-001:first", "ä"])
async def test_a_key_and_its_digest_are_one_key(dsm: Dsm, name: str) -> None:
    for number, key in enumerate((name, header_key(f"{name} again"))):
        other = header_key(name) if key == name else f"{name} again"
        answers = []
        for sent in (key, other):
            async with dsm.cluster.client("project-service") as client:
                headers = [(b"Idempotency-Key", sent.encode("latin-1"))]
                body = PROJECT | {"id": f"P-{number}"}
                answer = await client.post("/projects", json=body, headers=headers)
            answers.append((answer.status_code, answer.text))
        assert answers == [(201, answers[0][1])] * 2


async def test_a_key_that_names_another_request_is_refused(dsm: Dsm) -> None:
    await dsm.post("project-service", "/projects", PROJECT, key="k")
    other = PROJECT | {"id": "Q"}
    message = await dsm.refused(422, "POST", "project-service", "/projects", json=other, key="k")
    assert "another request" in message


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ("project-service", "/projects"),
        ("sprint-service", "/sprints/list_projects"),
        ("chronicle-service", "/nowhere"),
    ],
)
async def test_head_is_answered_as_get_is(dsm: Dsm, service: str, path: str) -> None:
    got = await dsm.call("GET", service, path)
    headed = await dsm.call("HEAD", service, path)
    assert (headed.status_code, headed.content) == (got.status_code, b"")
    assert headed.headers == got.headers
