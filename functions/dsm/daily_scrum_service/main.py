"""The daily scrum: simulate a sprint's working day.

The draws are recorded before the first task moves, and sprint-service moves all tasks in one
transaction under a key made of ours: a repeat, whatever died before it, moves nothing twice.
"""

from __future__ import annotations

import random
from typing import Any
from uuid import uuid4

from fastapi import FastAPI
from starlette.responses import JSONResponse, Response

from functions.dsm.daily_scrum_service import decide, tables
from functions.dsm_client import dsm
from functions.kit.clients import derived_key, path
from functions.kit.context import Context
from functions.kit.contract import (
    Ctx,
    Id,
    IdempotencyKey,
    Limit,
    api,
    called_once,
    new_app_with_fastapi_errors,
)
from functions.kit.durable.locks import DAILY_SCRUM
from functions.kit.errors import Conflict, NotFound
from functions.kit.process import ready_route

_DICE = random.SystemRandom()


def build() -> FastAPI:
    app = new_app_with_fastapi_errors("daily-scrum-service")
    app.include_router(ready_route("daily-scrum-service", lambda ctx: [dsm(ctx).sprints]))

    @app.post("/scrums/{sprint_id}/run")
    async def run(sprint_id: Id, ctx: Ctx, idempotency_key: IdempotencyKey = None) -> Response:
        key = idempotency_key or str(uuid4())

        async def work() -> Any:
            async with ctx.alone(DAILY_SCRUM, sprint_id):
                return await simulate(ctx, sprint_id, key)

        return JSONResponse(await called_once(ctx, idempotency_key, "POST run", sprint_id, work))

    @app.get("/scrums/{sprint_id}")
    async def scrums(sprint_id: Id, ctx: Ctx, limit: Limit = 100) -> list[dict[str, Any]]:
        async with ctx.store.connection() as connection:
            return await tables.scrums(connection, sprint_id, limit)

    return app


async def simulate(ctx: Context, sprint_id: str, key: str) -> dict[str, Any]:
    """Move each task that is not done by a random step; say what moved, and when."""
    async with ctx.store.connection() as connection:
        drawn = await tables.drawn(connection, sprint_id, key)
    if drawn is not None:
        key, made = drawn
    else:
        made = decide.moves(decide.active(await _tasks(ctx, sprint_id)), _DICE.randint)
        async with ctx.store.connection() as connection:
            await tables.record(connection, sprint_id, key, made)
    if not made:
        return {"message": "No tasks found for sprint.", "tasks_updated_count": 0, "updates": []}
    at = path("sprints", sprint_id, "progress")
    answer = await dsm(ctx).sprints.post(
        at, dict[str, Any], key=derived_key(sprint_id, key), body={"moves": made}
    )
    return {
        "message": f"Daily scrum simulation completed for sprint {sprint_id}",
        "tasks_updated_count": len(answer["updates"]),
        "updates": [
            {
                "task_id": update["task_id"],
                "progress_made": f"{update['progress_made']}%",
                "new_status": f"{update['progress_percentage']}%",
                "created_at": update["updated_at"],
            }
            for update in answer["updates"]
        ],
    }


async def _tasks(ctx: Context, sprint_id: str) -> list[dict[str, Any]]:
    try:
        found: dict[str, Any] = await dsm(ctx).sprints.get(
            path("sprints", sprint_id), dict[str, Any]
        )
    except NotFound:
        raise NotFound(f"Sprint {sprint_id} not found") from None
    if found["sprint"]["status"] != "in_progress":
        raise Conflict(f"Sprint {sprint_id} is not in progress but {found['sprint']['status']}")
    tasks: list[dict[str, Any]] = found["tasks"]
    return tasks


daily_scrum_service = api("daily_scrum_service", build, retention=lambda ctx: tables.RETENTION)
