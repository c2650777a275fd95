"""Looks at a project and does what is due: close its sprint, start the next, schedule its scrum.

Routes and shapes are those of the Digital Scrum Master's project-orchestrator. A sprint's CronJob
is a PingSource here, whose tick names the project and the sprint.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import uuid4

from fastapi import FastAPI
from pydantic import BaseModel, Field

from functions.dsm.project_orchestrator import orchestration, sample, schedules, tables, wake
from functions.dsm.project_orchestrator.orchestration import Options
from functions.events.schedule import ScheduleDue
from functions.kit.contract import (
    Ctx,
    Id,
    IdempotencyKey,
    Text,
    add_runs,
    api,
    called_once,
    new_app_with_fastapi_errors,
)
from functions.kit.errors import PermanentError
from functions.kit.process import ready_route


class Orchestrate(BaseModel):
    action: Text = "analyze_and_orchestrate"  # there is one only, whatever it is called
    options: Options = Field(default_factory=Options)


def build() -> FastAPI:
    app = new_app_with_fastapi_errors("project-orchestrator")
    app.include_router(ready_route("project-orchestrator"))

    @app.post("/orchestrate/project/{project_id}")
    async def orchestrate(
        project_id: Id,
        body: Orchestrate,
        ctx: Ctx,
        idempotency_key: IdempotencyKey = None,
    ) -> Any:
        request = idempotency_key or str(uuid4())
        ctx.part(wake.Calls)

        async def work() -> Any:
            return await orchestration.orchestrate(ctx, project_id, body.options, request)

        asked = [project_id, body.model_dump(mode="json")]
        return await called_once(ctx, idempotency_key, "POST /orchestrate", asked, work)

    @app.get("/orchestrate/project/{project_id}/status")
    async def status(project_id: Id, ctx: Ctx) -> dict[str, Any]:
        situation, analysis = await orchestration.analyse(ctx, project_id, 2)
        async with ctx.store.connection() as connection:
            last = await tables.latest(connection, project_id)
        return {
            "project_id": project_id,
            "last_analysis": last,
            "current_sprint": situation.sprint_id,
            "sprint_status": asdict(situation),
            "backlog_status": analysis,
            "cronjobs": situation.schedules,
        }

    @app.delete("/orchestrate/project/{project_id}/cronjob/{name}")
    async def delete_cronjob(project_id: Id, name: Id, ctx: Ctx) -> dict[str, str]:
        if name not in (await schedules.names(ctx, project_id) or ()):
            message = f"Project {project_id} has no cronjob {name}"
            return {"message": message, "cronjob_name": name, "status": "not_found"}
        problem = await schedules.delete(ctx, project_id, name)
        if problem is not None:
            raise PermanentError(problem)
        return {"message": f"Deleted cronjob {name}", "cronjob_name": name, "status": "deleted"}

    @app.post("/sample-data")
    async def sample_data(ctx: Ctx) -> dict[str, Any]:
        """Create the sample projects, employees and sprints; a repeat changes nothing."""
        return await sample.create(ctx)

    add_runs(app)
    return app


project_orchestrator = api(
    "project_orchestrator",
    build,
    start=wake.start,
    inputs=[ScheduleDue],
    schedules=wake.SCHEDULES,
    consume=wake.consume,
    retention=lambda ctx: tables.RETENTION,
)
