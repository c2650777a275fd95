"""The services that the functions were written to work with, as they behave: they know no keys.

A repeated POST does its work again, whatever its Idempotency-Key. A report that is filed cannot be
read back: asking for it is answered 500, asking for one that is not there 404.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tests.support.cluster import Cluster
from tests.support.dsm_services import Answer, Work, World


class Originals(World):
    """`broken` maps "METHOD /path" to how many requests end in 500 once their work is done."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: dict[str, int] = {}
        self.cronjobs: set[str] = set()

    def _answered(self, request: Request, work: Work) -> Response:
        name = f"{request.method} {request.url.path}"
        if request.method == "POST":
            self.writes.append(name)
        status, document = self.answers.get(name) or work(request)
        if self.broken.get(name, 0) > 0:
            self.broken[name] -= 1
            return PlainTextResponse("Internal Server Error", 500)
        return JSONResponse(document, status)

    def join(self, cluster: Cluster) -> None:
        super().join(cluster)
        routes: dict[str, list[Route]] = {
            "sprint-service": [
                self._post("/sprints/{sprint}/run-daily-scrum", self._run_daily_scrum)
            ],
        }
        for name, more in routes.items():
            app = cluster.apps[name]
            app.router.routes[:0] = more  # type: ignore[attr-defined]

    def _scrum(self, request: Request) -> Answer:
        status, answer = super()._scrum(request)
        for update in answer.get("updates", ()):
            del update["created_at"]
        return status, answer

    def _run_daily_scrum(self, request: Request) -> Answer:
        """It simulates the day, and files a report of its own."""
        sprint = self._found(request)
        if sprint is None:
            return 404, {"detail": f"Sprint '{request.path_params['sprint']}' is not active."}
        _, answer = super()._scrum(request)
        self.notes.append({"sprint_id": sprint.id, "report_date": self.today})
        return 200, {
            "message": f"Daily scrum completed for sprint {sprint.id}",
            "sprint_id": sprint.id,
            "tasks_updated_count": answer["tasks_updated_count"],
            "report_id": None,
        }

    def _report(self, request: Request) -> Answer:
        status, answer = super()._report(request)
        return (500, {"detail": "Internal Server Error"}) if status == 200 else (status, answer)

    def _generate(self, request: Request) -> Answer:
        """The same ten ids each time, taken out of the sprint that they are in."""
        project = request.path_params["project"]
        sprint = self.active(project)
        if sprint is not None:
            sprint.tasks.clear()
        self.backlog[project] = 10
        return 201, {"message": f"Generated 10 tasks for {project}", "tasks_count": 10}

    def _orchestrate(self, request: Request) -> Answer:
        """It makes a schedule for an active sprint that has none, wanted or not."""
        project = request.path_params["project"]
        active = self.active(project)
        status, answer = super()._orchestrate(request)
        wanted = request.state.json["options"]["create_cronjob"]
        if active is not None and active.status == "in_progress":
            self.cronjobs.add(f"run-dailyscrum-{active.id}".lower())
        if answer["sprint_id"] and wanted:
            self.cronjobs.add(f"run-dailyscrum-{answer['sprint_id']}".lower())
        return status, answer
