"""A sprint's and a project's page over services that tell a known history."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from functions.console.main import console
from tests.support.cluster import Cluster
from tests.support.console_browser import UNHURRIED, browser

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
SPRINT = {
    "sprint_id": "P-S02",
    "project_id": "P",
    "sprint_name": "Second",
    "start_date": "2026-03-02",
    "end_date": "2026-03-13",
    "status": "in_progress",
}
CLOSED = SPRINT | {"sprint_id": "P-S01", "start_date": "2026-02-16", "status": "completed"}
TASKS = [("T1", 100, "E1"), ("T2", 40, "E1"), ("T3", 40, "E2"), ("T4", 0, None)]


def day(date: str, *progress: int) -> dict[str, Any]:
    told = {f"T{number}": percent for number, percent in enumerate(progress, 1)}
    left = sum(100 - percent for percent in progress) / 100
    return {"date": date, "total_tasks": len(progress), "remaining": left, "progress": told}


HISTORY = [
    day("2026-03-03", 50, 40, 0),
    day("2026-03-04", 100, 40, 0),
    day("2026-03-05", 100, 40, 20, 0),
    day("2026-03-06", 100, 40, 40, 0),
]
NOTE = {
    "reports": {
        "2026-03-06": [
            {"assigned_to": "E2", "tasks": [{"id": "T3", "impediments": "waits for a licence"}]},
            {"assigned_to": "E1", "tasks": [{"id": "T2", "impediments": "None reported."}]},
        ]
    }
}


def answers(**found: Any) -> Starlette:
    """A service that answers each path with its JSON."""

    def route(path: str, body: Any) -> Route:
        async def answer(request: Request) -> Response:
            return JSONResponse(body)

        return Route(path, answer)

    return Starlette(routes=[route(path, body) for path, body in found.items()])


@pytest.fixture
def services(cluster: Cluster) -> Cluster:
    tasks = [
        {"task_id": id, "title": id, "status": "", "progress_percentage": p, "assigned_to": who}
        for id, p, who in TASKS
    ]
    counts = {"total_tasks": 5, "completed_tasks": 4, "pending_tasks": 1}
    now_counts = {"total_tasks": 4, "completed_tasks": 1, "pending_tasks": 3}
    sprint_service = {
        "/sprints/by-project/P": [SPRINT, CLOSED],
        "/sprints/by-project/NONE": [],
        "/sprints/P-S02": {"sprint": SPRINT, "tasks": tasks},
        "/sprints/P-S02/tasks": tasks,
        "/sprints/P-S02/task-summary": now_counts,
        "/sprints/P-S01/task-summary": counts,
    }
    holidays = [{"holiday_date": "2026-03-09", "holiday_name": "Founders' Day", "type": "own"}]
    project_service = {
        "/calendar/holidays": holidays,
        "/employees": [{"id": "E1", "name": "Ada"}],
        "/projects": [{"id": "P"}],
    }
    chronicle = {
        "/v1/analytics/sprint/P-S02/burndown": {"days": HISTORY},
        "/v1/notes/daily_scrum_report/notes": [NOTE],
    }
    cycle = {
        "project_id": "P",
        "closed_sprint_id": "P-S01",
        "new_sprint_id": "P-S02",
        "steps": [{"name": "close-sprint"}],
        "warnings": ["the backlog was empty"],
        "took_ms": 1200,
    }
    events = [
        {"id": id, "type": "io.dsm.cycle.completed.v1", "data": cycle | {"project_id": id}}
        for id in ("P", "OTHER")
    ]
    run = {"ended_at": "2026-03-02T13:30:00Z", "answer": events}
    cluster.add("sprint-service", answers(**sprint_service))
    cluster.add("project-service", answers(**project_service))
    cluster.add("chronicle-service", answers(**chronicle))
    cluster.add("cycle-trigger", answers(**{"/runs": {"runs": [run], "next": None}}))
    cluster.deploy(console, UNHURRIED, now=lambda: NOW)
    return cluster


async def read(cluster: Cluster, path: str) -> str:
    async with browser(cluster) as client:
        return (await client.get(path)).text


async def test_days_that_are_no_working_days_are_shaded_and_named(services: Cluster) -> None:
    page = await read(services, "/sprints/P-S02/panels/burndown")
    bands = re.findall(r'class="off"[^>]*><title>([^<]+)', page)
    assert sorted(bands) == [
        "Mon 9 Mar 2026: Founders' Day",
        "Sat 7 Mar 2026: weekend",
        "Sun 8 Mar 2026: weekend",
    ]
    assert page.count("<td>weekend</td>") == 2


async def test_a_change_of_scope_is_marked_where_it_happened(services: Cluster) -> None:
    page = await read(services, "/sprints/P-S02/panels/burndown")
    assert re.findall(r'class="noted">.*?<text[^>]*>([^<]+)', page) == ["+1 task"]
    assert re.search(r"Thu 5 Mar 2026</th>.*?<td>\+1 task</td>", page)
    assert "tasks were added or removed" in page


async def test_without_holidays_the_weekends_are_shaded_all_the_same(services: Cluster) -> None:
    services.down.add("project-service")
    page = await read(services, "/sprints/P-S02/panels/burndown")
    assert page.count("<td>weekend</td>") == 2
    assert "Founders" not in page


async def test_the_flow_counts_tasks_by_state_on_each_day(services: Cluster) -> None:
    page = await read(services, "/sprints/P-S02/panels/flow")
    rows = re.findall(r'(\d+ Mar) 2026</th>((?:<td class="num">\d+</td>)+)', page)
    counts = [(date, re.findall(r">(\d+)<", cells)) for date, cells in rows]
    assert counts[0] == ("3 Mar", ["0", "2", "1"])
    assert counts[-1] == ("6 Mar", ["1", "2", "1"])
    assert 'class="pygal-chart stacked"' in page


async def test_each_person_has_a_progress(services: Cluster) -> None:
    page = await read(services, "/sprints/P-S02/panels/members")
    assert re.findall(r'scope="row">([^<]+)', page) == ["Ada", "E2", "unassigned"]
    assert 'value="70"' in page  # Ada's: 100 and 40
    assert "1 of 2" in page


async def test_blocked_and_stale_tasks_say_why(services: Cluster) -> None:
    page = await read(services, "/sprints/P-S02/panels/stuck")
    assert re.findall(r'scope="row">(\w+)', page) == ["T3", "T2"]
    assert "waits for a licence" in page
    assert "did not move in 3 reports, at 40 %" in page


async def test_a_project_has_its_velocity_and_its_cycles(services: Cluster) -> None:
    velocity = await read(services, "/projects/P/panels/velocity")
    assert "4.0 tasks per closed sprint" in velocity
    assert velocity.index("P-S02</a>") < velocity.index("P-S01</a>")
    cycles = await read(services, "/projects/P/panels/cycle_history")
    assert cycles.count("<tr>") == 2  # with its head
    assert "the backlog was empty" in cycles
    page = await read(services, "/projects/P")
    assert 'href="/sprints" aria-current="page"' in page
    assert "There is no project NONE." in await read(services, "/projects/NONE")
