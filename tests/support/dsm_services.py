"""The DSM services in memory: real ASGI applications that can be made to misbehave.

They answer as the real services do, Idempotency-Key included. What only a broken service says is
set on `World.answers`, and the calls that were made are in `World.writes`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.support.cluster import Cluster

Answer = tuple[int, Any]
Work = Callable[[Request], Answer]

MOVED_AT = datetime(2025, 8, 29, 14, 0, 0, 5, tzinfo=UTC)


@dataclass
class FakeSprint:
    """A sprint and the progress of its tasks, by task id."""

    project: str
    id: str
    tasks: dict[str, int] = field(default_factory=dict)
    status: str = "in_progress"

    def as_json(self) -> dict[str, Any]:
        return {
            "sprint_id": self.id,
            "project_id": self.project,
            "sprint_name": self.id,
            "start_date": "2025-08-18",
            "end_date": "2025-08-29",
            "duration_weeks": 2,
            "status": self.status,
        }

    def tasks_as_json(self) -> list[dict[str, Any]]:
        return [
            {
                "task_id": name,
                "title": f"Title of {name}",
                "status": "in_progress",
                "sprint_id": self.id,
                "progress_percentage": progress,
                "assigned_to": "E001" if number % 2 else "E002",
            }
            for number, (name, progress) in enumerate(self.tasks.items())
        ]


class AnyJson(JSONResponse):
    """JSON as Python writes it: half a surrogate pair and NaN are answered too."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode()


class World:
    """All six services' data. `answers` maps "METHOD /path" to what is answered instead."""

    def __init__(self) -> None:
        self.projects: list[str] = []
        self.sprints: list[FakeSprint] = []
        self.backlog: dict[str, int] = {}
        self.notes: list[dict[str, Any]] = []
        self.answers: dict[str, Answer] = {}
        self.writes: list[str] = []
        self.today = str(MOVED_AT.date())
        self.requests: list[tuple[str, Any]] = []
        self._first: dict[str, Answer] = {}

    def sprint(self, project: str, number: int = 1, *progress: int) -> FakeSprint:
        """Add a sprint whose tasks stand at `progress`, newest first."""
        if project not in self.projects:
            self.projects.append(project)
        name = f"{project}-S{number:02d}"
        tasks = {f"{name}-T{n}": p for n, p in enumerate(progress, start=1)}
        self.sprints.insert(0, FakeSprint(project, name, tasks))
        return self.sprints[0]

    def active(self, project: str) -> FakeSprint | None:
        mine = (s for s in self.sprints if s.project == project)
        return next((s for s in mine if s.status == "in_progress"), None)

    def join(self, cluster: Cluster) -> None:
        """Serve the six services in a cluster."""
        get, post = self._get, self._post
        services: dict[str, list[Route]] = {
            "project-service": [
                get("/projects", lambda r: (200, [{"id": p} for p in self.projects])),
                get("/projects/{project}/team-members", self._team),
            ],
            "sprint-service": [
                get("/sprints/list_projects", self._list_projects),
                get("/sprints/by-project/{project}", self._by_project),
                get("/sprints/{sprint}/task-summary", self._summary),
                get("/sprints/{sprint}/tasks", self._tasks),
                get("/sprints/{sprint}", self._detail),
            ],
            "backlog-service": [
                post("/backlogs/{project}", self._generate),
                get("/backlogs/{project}/summary", self._backlog_summary),
            ],
            "daily-scrum-service": [post("/scrums/{sprint}/run", self._scrum)],
            "chronicle-service": [
                post("/v1/notes/daily_scrum_report", self._note),
                get("/v1/notes/daily_scrum_report", self._report),
            ],
            "project-orchestrator": [post("/orchestrate/project/{project}", self._orchestrate)],
        }
        for name, routes in services.items():
            cluster.add(name, Starlette(routes=routes))

    def _get(self, path: str, work: Work) -> Route:
        async def answer(request: Request) -> Response:
            return self._answered(request, work)

        return Route(path, answer, methods=["GET"])

    def _post(self, path: str, work: Work) -> Route:
        async def answer(request: Request) -> Response:
            body = await request.body()
            request.state.json = await request.json() if body else None
            return self._answered(request, work)

        return Route(path, answer, methods=["POST"])

    def _answered(self, request: Request, work: Work) -> Response:
        name = f"{request.method} {request.url.path}"
        key = request.headers.get("idempotency-key")
        if key is not None and f"{name}#{key}" in self._first:
            status, document = self._first[f"{name}#{key}"]
            return AnyJson(document, status)
        if key is not None:
            self.requests.append((f"{name}#{key}", request.state.json))
        status, document = self.answers.get(name) or work(request)
        if key is not None and status < 300:
            self._first[f"{name}#{key}"] = (status, document)
            self.writes.append(name)
        return AnyJson(document, status)

    def _found(self, request: Request) -> FakeSprint | None:
        wanted = request.path_params["sprint"]
        return next((s for s in self.sprints if s.id == wanted), None)

    def _team(self, request: Request) -> Answer:
        project = request.path_params["project"]
        members = [{"id": "E001", "name": "Ann"}, {"id": "E002", "name": "Ben"}]
        return 200, {"project_id": project, "team_members": members}

    def _list_projects(self, request: Request) -> Answer:
        names = sorted({s.project for s in self.sprints})
        return 200, [{"project_id": p, "sprints": self._sprints_of(p)} for p in names]

    def _sprints_of(self, project: str, status: str | None = None) -> list[dict[str, Any]]:
        mine = [s for s in self.sprints if s.project == project]
        return [s.as_json() for s in mine if status in (None, s.status)]

    def _by_project(self, request: Request) -> Answer:
        return 200, self._sprints_of(
            request.path_params["project"], request.query_params.get("status")
        )

    def _detail(self, request: Request) -> Answer:
        sprint = self._found(request)
        if sprint is None:
            return 404, {"detail": "Sprint not found."}
        return 200, {"sprint": sprint.as_json(), "tasks": sprint.tasks_as_json()}

    def _tasks(self, request: Request) -> Answer:
        sprint = self._found(request)
        return 200, sprint.tasks_as_json() if sprint else []

    def _summary(self, request: Request) -> Answer:
        sprint = self._found(request)
        if sprint is None:
            return 404, {"detail": "Sprint not found."}
        done = sum(p == 100 for p in sprint.tasks.values())
        total = len(sprint.tasks)
        return 200, {
            "total_tasks": total,
            "completed_tasks": done,
            "pending_tasks": total - done,
        }

    def _generate(self, request: Request) -> Answer:
        project = request.path_params["project"]
        self.backlog[project] = self.backlog.get(project, 0) + 10
        return 201, {"message": f"Generated 10 tasks for {project}", "tasks_count": 10}

    def _scrum(self, request: Request) -> Answer:
        sprint = self._found(request)
        if sprint is None:
            return 404, {"detail": f"Sprint {request.path_params['sprint']} not found."}
        updates = []
        for name, progress in sprint.tasks.items():
            if progress < 100:
                sprint.tasks[name] = min(100, progress + 20)
                updates.append(
                    {
                        "task_id": name,
                        "progress_made": f"{sprint.tasks[name] - progress}%",
                        "new_status": f"{sprint.tasks[name]}%",
                        "created_at": MOVED_AT.isoformat(),
                    }
                )
        return 200, {"message": "done", "tasks_updated_count": len(updates), "updates": updates}

    def _note(self, request: Request) -> Answer:
        self.notes.append(request.state.json)
        return 201, {"message": "recorded", "note_id": f"note-{len(self.notes)}"}

    def _report(self, request: Request) -> Answer:
        wanted = request.query_params
        found = [
            str(number)
            for number, note in enumerate(self.notes, 1)
            if note["sprint_id"] == wanted["sprint_id"]
            and note["report_date"] == wanted["daily_scrum_date"]
        ]
        if not found:
            return 404, {"detail": "No daily scrum reports found for the given criteria."}
        return 200, {"note_ids": [f"note-{number}" for number in found], "reports": {}}

    def _backlog_summary(self, request: Request) -> Answer:
        project = request.path_params["project"]
        return 200, {
            "project_id": project,
            "unassigned_for_sprint_count": self.backlog.get(project, 0),
        }

    def _orchestrate(self, request: Request) -> Answer:
        project = request.path_params["project"]
        active = self.active(project)
        decisions: dict[str, Any] = {"reasoning": "Nothing to do."}
        actions: list[str] = []
        sprint_id = None
        if active is not None and all(p == 100 for p in active.tasks.values()):
            active.status = "completed"
            decisions |= {"sprint_closure_triggered": True, "sprint_id_to_close": active.id}
            actions.append(f"Closed sprint {active.id}")
        elif active is None and self.backlog.get(project, 0) > 0:
            number = 1 + sum(s.project == project for s in self.sprints)
            self.backlog[project] -= 10
            sprint_id = self.sprint(project, number, *[0] * 10).id
            decisions |= {"create_new_sprint": True, "sprint_id": sprint_id}
            actions += [f"Created new sprint {sprint_id}", "Assigned 10 tasks to sprint"]
        return 200, {
            "project_id": project,
            "decisions": decisions,
            "actions_taken": actions,
            "sprint_id": sprint_id,
        }


class Flaky:
    """Cuts a cluster's n-th call to a service, before or after the service has done its work.

    `asked` are the calls that were made, the one that was cut off among them.
    """

    def __init__(self, cluster: Cluster, names: list[str], cut: int, lose_answer: bool) -> None:
        self.asked: list[str] = []
        for name in names:
            cluster.add(name, self._wrapped(cluster.apps[name], cut, lose_answer))

    def _wrapped(self, app: Any, cut: int, lose_answer: bool) -> Callable[..., Awaitable[None]]:
        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            self.asked.append(f"{scope['method']} {scope['path']}")
            if len(self.asked) != cut:
                await app(scope, receive, send)
                return
            if lose_answer:
                await app(scope, receive, _nowhere)
            await JSONResponse({"detail": "cut off"}, 503)(scope, receive, send)

        return wrapped


async def _nowhere(message: Any) -> None:
    """A connection that broke before the answer."""
