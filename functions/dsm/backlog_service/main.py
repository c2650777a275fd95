"""Each project's backlog: tasks to be done, in a sprint, and done.

Routes and shapes are those of the Digital Scrum Master's backlog-service. sprint-service sends
the state of a sprint's tasks: together, by `POST /backlogs/{project_id}/placements`, and one
by one by TaskUpdated events; the later `updated_at` wins, whatever comes first.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from fastapi import FastAPI, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from functions.dsm.backlog_service import decide, tables
from functions.dsm_client import dsm
from functions.events.task import TaskUpdated
from functions.kit import cloudevents
from functions.kit.clients import path
from functions.kit.contract import (
    Ctx,
    Id,
    IdempotencyKey,
    Limit,
    Offset,
    Text,
    api,
    created,
    envelope,
    new_app_with_fastapi_errors,
    once,
)
from functions.kit.contract.http_api import accepted, answered
from functions.kit.durable import Connection
from functions.kit.errors import NotFound, PermanentError
from functions.kit.process import ready_route


class NewTask(BaseModel):
    project_id: Id
    title: Text = Field(min_length=1)
    description: Text | None = None
    assigned_to: Id | None = None
    task_id: Id | None = None


class Change(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: Text = Field("", min_length=1)
    description: Text | None = None
    status: Id = "unassigned"
    assigned_to: Id | None = None
    sprint_id: Id | None = None
    progress_percentage: int = Field(0, ge=0, le=100)


class Placed(BaseModel):
    task_id: Id
    status: Id
    progress_percentage: int = Field(ge=0, le=100)
    sprint_id: Id | None
    assigned_to: Id | None


class Placements(BaseModel):
    updated_at: AwareDatetime
    tasks: list[Placed] = Field(max_length=10_000)


def build() -> FastAPI:
    app = new_app_with_fastapi_errors("backlog-service")
    app.include_router(ready_route("backlog-service", lambda ctx: [dsm(ctx).projects]))
    _backlogs(app)
    _tasks(app)
    return app


def _backlogs(app: FastAPI) -> None:
    @app.get("/backlogs/summary")
    async def summaries(
        ctx: Ctx, limit: Limit = 10_000, offset: Offset = 0
    ) -> list[dict[str, Any]]:
        async with ctx.store.connection() as connection:
            return await tables.summaries(connection, None, limit, offset)

    @app.post("/backlogs/{project_id}")
    async def generate(
        project_id: Id, ctx: Ctx, idempotency_key: IdempotencyKey = None
    ) -> Response:
        if not await answered(ctx, idempotency_key, "POST /backlogs"):
            await _known(ctx, project_id)

        async def work(tx: Connection) -> Any:
            ids = await tables.generate(tx, project_id, decide.TITLES)
            return {
                "message": f"Backlog of project {project_id} has {len(ids)} new tasks",
                "tasks_count": len(ids),
                "task_ids": ids,
            }

        return created(await once(ctx, idempotency_key, "POST /backlogs", project_id, work))

    @app.get("/backlogs/{project_id}")
    async def backlog(
        project_id: Id,
        ctx: Ctx,
        status: Id | None = None,
        limit: Limit = 10_000,
        offset: Offset = 0,
    ) -> list[dict[str, Any]]:
        async with ctx.store.connection() as connection:
            return await tables.tasks(connection, project_id, status, limit, offset)

    @app.get("/backlogs/{project_id}/summary")
    async def summary(project_id: Id, ctx: Ctx) -> dict[str, Any]:
        async with ctx.store.connection() as connection:
            found = await tables.summaries(connection, project_id)
        empty = {"total_tasks": 0, "status_counts": {}, "unassigned_for_sprint_count": 0}
        return found[0] if found else {"project_id": project_id, **empty}

    @app.post("/backlogs/{project_id}/placements")
    async def place(
        project_id: Id, body: Placements, ctx: Ctx, idempotency_key: IdempotencyKey = None
    ) -> Any:
        async def work(tx: Connection) -> Any:
            tasks = [task.model_dump() for task in body.tasks]
            moved = await tables.place(tx, project_id, body.updated_at, tasks)
            return {"message": f"{moved} tasks placed", "tasks_count": moved}

        request = [project_id, body.model_dump(mode="json")]
        return await once(ctx, idempotency_key, "POST placements", request, work)


def _tasks(app: FastAPI) -> None:
    @app.post("/tasks")
    async def add(body: NewTask, ctx: Ctx, idempotency_key: IdempotencyKey = None) -> Response:
        if not await answered(ctx, idempotency_key, "POST /tasks"):
            await _known(ctx, body.project_id)

        async def work(tx: Connection) -> Any:
            task_id = body.task_id or f"{body.project_id}-{uuid4()}"
            await tables.add(tx, body.model_dump() | {"task_id": task_id})
            return {"message": "Task created successfully", "task_id": task_id}

        request = body.model_dump(mode="json")
        return created(await once(ctx, idempotency_key, "POST /tasks", request, work))

    @app.get("/tasks/{task_id}")
    async def one(task_id: Id, ctx: Ctx) -> dict[str, Any]:
        async with ctx.store.connection() as connection:
            return await tables.task(connection, task_id)

    @app.put("/tasks/{task_id}")
    async def change(task_id: Id, body: Change, ctx: Ctx) -> dict[str, str]:
        if not body.model_fields_set:
            raise PermanentError(f"give at least one of {', '.join(Change.model_fields)}")
        async with ctx.store.connection() as connection:
            await tables.change(connection, task_id, body.model_dump(exclude_unset=True))
        return {"message": f"Task {task_id} updated successfully"}

    @app.post("/events")
    async def task_updated(request: Request, ctx: Ctx) -> Response:
        """A TaskUpdated event from the broker; 202 with no body, as a broker wants it."""
        return await accepted(request, lambda message: _apply(ctx, message))


async def _apply(ctx: Ctx, message: cloudevents.Message) -> None:
    event = envelope.open_(message, (TaskUpdated,))
    assert isinstance(event, TaskUpdated)
    async with ctx.store.transaction() as tx:
        await tables.place(tx, event.project_id, event.updated_at, [event.model_dump()])


async def _known(ctx: Ctx, project_id: str) -> None:
    try:
        await dsm(ctx).projects.get(path("projects", project_id), dict)
    except NotFound:
        raise NotFound(f"Project {project_id} not found") from None


backlog_service = api("backlog_service", build)
