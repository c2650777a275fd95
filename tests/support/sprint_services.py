"""A sprint with a known history: services that answer with fixed JSON, and a console over them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from functions.console.main import console
from tests.support.cluster import Cluster
from tests.support.console_browser import UNHURRIED

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
SPRINT = {
    "sprint_id": "P-S02",
    "project_id": "P",
    "sprint_name": "Second",
    "start_date": "2026-03-02",
    "end_date": "2026-03-13",
    "status": "in_progress",
}
CLOSED = SPRINT | {
    "sprint_id": "P-S01",
    "start_date": "2026-02-16",
    "end_date": "2026-03-03",
    "status": "completed",
}
BEGUN = SPRINT | {"sprint_id": "Q-S01", "project_id": "Q", "start_date": "2026-03-10"}
TASKS = [("T1", 100, "E1"), ("T2", 40, "E1"), ("T3", 40, "E2"), ("T4", 0, None)]


def day(date: str, *progress: int) -> dict[str, Any]:
    received = {f"T{number}": percent for number, percent in enumerate(progress, 1)}
    left = sum(100 - percent for percent in progress) / 100
    return {"date": date, "total_tasks": len(progress), "remaining": left, "progress": received}


HISTORY = [
    day("2026-03-03", 50, 40, 0),
    day("2026-03-04", 100, 40, 0),
    day("2026-03-05", 100, 40, 20, 0),
    day("2026-03-06", 100, 40, 40, 0),
]
NOTE = {
    "report_date": "2026-03-06",
    "reports": {
        "2026-03-06": [
            {"assigned_to": "E2", "tasks": [{"id": "T3", "impediments": "waits for a licence"}]},
            {"assigned_to": "E1", "tasks": [{"id": "T2", "impediments": "None reported."}]},
        ]
    },
}


def answers(**found: Any) -> Starlette:
    """A service that answers each path with its JSON."""

    def route(path: str, body: Any) -> Route:
        async def answer(request: Request) -> Response:
            return JSONResponse(body)

        return Route(path, answer)

    return Starlette(routes=[route(path, body) for path, body in found.items()])


def join_sprint_services(cluster: Cluster) -> None:
    """Serve sprint P-S02 of project P to a console whose clock stands at NOW."""
    tasks = [
        {"task_id": id, "title": id, "status": "", "progress_percentage": p, "assigned_to": who}
        for id, p, who in TASKS
    ]
    counts = {"total_tasks": 5, "completed_tasks": 4, "pending_tasks": 1}
    now_counts = {"total_tasks": 4, "completed_tasks": 1, "pending_tasks": 3}
    sprint_service = {
        "/sprints/list_projects": [{"project_id": "P", "sprints": [CLOSED, SPRINT, BEGUN]}],
        "/sprints/overview": [SPRINT | now_counts, BEGUN | now_counts],
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
        "/projects": [{"id": "P", "name": "Phoenix"}],
    }
    chronicle = {
        "/v1/analytics/sprint/P-S02/burndown": {"days": HISTORY},
        "/v1/notes/daily_scrum_report/notes": [NOTE],
    }
    cycle = {
        "project_id": "P",
        "closed_sprint_id": "P-S01",
        "new_sprint_id": "P-S02",
        "steps": [{"name": "close-sprint", "did": [], "took_ms": 400}],
        "warnings": ["the backlog was empty"],
        "took_ms": 1200,
        "schedule": "0 14 * * 1-5",
    }
    events = [
        {"id": id, "type": "io.dsm.cycle.completed.v1", "data": cycle | {"project_id": id}}
        for id in ("P", "OTHER")
    ]
    run = {"id": "P-S01", "type": "io.dsm.sprint.completed.v1", "outcome": "ok", "took_ms": 12}
    run |= {"ended_at": "2026-03-02T13:30:00Z", "answer": events}
    cluster.add("sprint-service", answers(**sprint_service))
    cluster.add("project-service", answers(**project_service))
    cluster.add("chronicle-service", answers(**chronicle))
    cluster.add("cycle-trigger", answers(**{"/runs": {"runs": [run], "next": None, "tally": []}}))
    cluster.deploy(console, UNHURRIED, now=lambda: NOW)
