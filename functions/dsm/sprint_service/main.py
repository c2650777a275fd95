"""Sprints: started with tasks of the backlog, measured while they run, closed at their end.

Routes and shapes are those of the Digital Scrum Master's sprint-service. A write is one
transaction here; what backlog-service, chronicle-service and the broker are to know leaves by the
outbox, so a process that dies at any point loses and doubles nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import groupby
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, Field, model_validator
from starlette.responses import JSONResponse, Response

from functions.dsm.sprint_service import lifecycle, outgoing, tables, wake
from functions.dsm_client import dsm
from functions.events.schedule import ScheduleDue
from functions.kit.clients import ServiceClient
from functions.kit.context import Context
from functions.kit.contract import (
    Ctx,
    Id,
    IdempotencyKey,
    Limit,
    Offset,
    Text,
    add_runs,
    api,
    new_app_with_fastapi_errors,
    once,
)
from functions.kit.contract.http_api import answered
from functions.kit.durable import Connection
from functions.kit.errors import NotFound, PermanentError
from functions.kit.process import ready_route


class NewSprint(BaseModel):
    sprint_name: Text = Field(min_length=1)
    duration_weeks: int = Field(ge=1, le=520)
    max_tasks_per_sprint: int | None = Field(None, ge=1, le=10_000)
    start_date: date | None = None  # today


class Progress(BaseModel):
    status: Id | None = None
    progress_percentage: int | None = Field(None, ge=0, le=100)


class Move(BaseModel):
    task_id: Id
    progress_made: int = Field(ge=0, le=100)


class Moves(BaseModel):
    moves: list[Move] = Field(max_length=10_000)

    @model_validator(mode="after")
    def _each_task_once(self) -> Moves:
        if len({move.task_id for move in self.moves}) < len(self.moves):
            raise ValueError("moves: name each task once")
        return self


def _called(ctx: Context) -> Sequence[ServiceClient]:
    services = dsm(ctx)
    return services.projects, services.backlogs, services.chronicle


def build() -> FastAPI:
    app = new_app_with_fastapi_errors("sprint-service")
    app.include_router(ready_route("sprint-service", _called))
    _reads(app)
    _writes(app)
    add_runs(app)
    return app


def _reads(app: FastAPI) -> None:
    @app.get("/sprints/list_projects")
    async def list_projects(
        ctx: Ctx, limit: Limit = 10_000, offset: Offset = 0
    ) -> list[dict[str, Any]]:
        async with ctx.store.connection() as connection:
            found = await tables.all_sprints(connection, limit, offset)
        return [
            {"project_id": project_id, "sprints": list(sprints)}
            for project_id, sprints in groupby(found, lambda sprint: sprint["project_id"])
        ]

    @app.get("/sprints/overview")
    async def overview(ctx: Ctx, limit: Limit = 10_000, offset: Offset = 0) -> list[dict[str, Any]]:
        """Each project's sprint in progress, or else its latest, with the counts of its tasks."""
        async with ctx.store.connection() as connection:
            return await tables.overview(connection, limit, offset)

    @app.get("/sprints/by-project/{project_id}")
    async def by_project(
        project_id: Id, ctx: Ctx, status: Id | None = None
    ) -> list[dict[str, Any]]:
        async with ctx.store.connection() as connection:
            return await tables.sprints_of(connection, project_id, status)

    @app.get("/sprints/active")
    async def any_active(ctx: Ctx) -> dict[str, str]:
        return await _active(ctx, None)

    @app.get("/sprints/active/{project_id}")
    async def active(project_id: Id, ctx: Ctx) -> dict[str, str]:
        return await _active(ctx, project_id)

    @app.get("/sprints/{sprint_id}")
    async def one(sprint_id: Id, ctx: Ctx) -> dict[str, Any]:
        async with ctx.store.connection() as connection:
            sprint = await tables.sprint(connection, sprint_id)
            return {"sprint": sprint, "tasks": await tables.tasks(connection, sprint_id)}

    @app.get("/sprints/{sprint_id}/tasks")
    async def tasks(sprint_id: Id, ctx: Ctx) -> list[dict[str, Any]]:
        async with ctx.store.connection() as connection:
            await tables.sprint(connection, sprint_id)
            return await tables.tasks(connection, sprint_id)

    @app.get("/sprints/{sprint_id}/task-summary")
    async def summary(sprint_id: Id, ctx: Ctx) -> dict[str, Any]:
        async with ctx.store.connection() as connection:
            await tables.sprint(connection, sprint_id)
            return await tables.summary(connection, sprint_id)


def _writes(app: FastAPI) -> None:
    @app.post("/sprints/{project_id}")
    async def start(
        project_id: Id, body: NewSprint, ctx: Ctx, idempotency_key: IdempotencyKey = None
    ) -> Response:
        out = outgoing.Outgoing(ctx, lifecycle.new_request(idempotency_key))
        asked = body.model_dump(mode="json")
        if body.start_date is None:
            del asked["start_date"]  # as those who never knew of it have asked
        # The backlog must have what was sent before: then what it calls unassigned is so.
        await outgoing.placed(ctx, project_id)
        found = lifecycle.Found()
        if not await answered(ctx, idempotency_key, "POST /sprints"):
            found = await lifecycle.find(ctx, project_id)

        async def work(tx: Connection) -> Any:
            return await lifecycle.start(tx, out, project_id, asked, found, ctx.now().date())

        answer = await once(ctx, idempotency_key, "POST /sprints", [project_id, asked], work)
        out.send()
        warnings = await out.arrived(project_id, answer["sprint_id"])
        return _answer(answer, 201, warnings)

    @app.post("/sprints/{sprint_id}/close")
    async def close(sprint_id: Id, ctx: Ctx, idempotency_key: IdempotencyKey = None) -> Response:
        out = outgoing.Outgoing(ctx, lifecycle.new_request(idempotency_key))

        async def work(tx: Connection) -> Any:
            return await lifecycle.close(tx, out, sprint_id)

        answer = await once(ctx, idempotency_key, "POST close", sprint_id, work)
        out.send()
        async with ctx.store.connection() as connection:
            project_id = (await tables.sprint(connection, sprint_id))["project_id"]
        warnings = await out.arrived(project_id, sprint_id)
        async with ctx.store.connection() as connection:
            retrospective = await tables.retrospective(connection, sprint_id)
        answer |= {"retrospective_report_id": retrospective}
        return _answer(answer, 200, warnings)

    @app.post("/sprints/{sprint_id}/progress")
    async def move(
        sprint_id: Id, body: Moves, ctx: Ctx, idempotency_key: IdempotencyKey = None
    ) -> Response:
        out = outgoing.Outgoing(ctx, lifecycle.new_request(idempotency_key))
        moves = [one.model_dump() for one in body.moves]

        async def work(tx: Connection) -> Any:
            return await lifecycle.move(tx, out, sprint_id, moves)

        answer = await once(ctx, idempotency_key, "POST moves", [sprint_id, moves], work)
        out.send()
        return JSONResponse(answer)

    @app.post("/tasks/{task_id}/progress")
    async def progress(
        task_id: Id, body: Progress, ctx: Ctx, idempotency_key: IdempotencyKey = None
    ) -> Response:
        if body.status is None and body.progress_percentage is None:
            raise PermanentError("give status, progress_percentage or both")
        out = outgoing.Outgoing(ctx, lifecycle.new_request(idempotency_key))
        asked = body.model_dump()

        async def work(tx: Connection) -> Any:
            return await lifecycle.set_progress(
                tx, out, task_id, body.status, body.progress_percentage
            )

        answer = await once(ctx, idempotency_key, "POST progress", [task_id, asked], work)
        out.send()
        return JSONResponse(answer)


def _answer(answer: dict[str, Any], status: int, warnings: list[str]) -> Response:
    return JSONResponse(answer | ({"warnings": warnings} if warnings else {}), status)


async def _active(ctx: Ctx, project_id: str | None) -> dict[str, str]:
    async with ctx.store.connection() as connection:
        found = await tables.active(connection, project_id)
    if found is None:
        raise NotFound("No active sprint found.")
    return {"sprint_id": found}


sprint_service = api(
    "sprint_service",
    build,
    start=wake.start,
    inputs=[ScheduleDue],
    schedules=wake.SCHEDULES,
    consume=wake.consume,
)
