"""`GET /health/ready` of a service: its database, and the services that it calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from fastapi import APIRouter
from starlette.responses import JSONResponse

from functions.kit import cloudevents
from functions.kit.clients.service import ServiceClient
from functions.kit.context import Context
from functions.kit.contract.http_api import Ctx
from functions.kit.errors import FunctionError


def ready_route(
    service: str, calls: Callable[[Context], Iterable[ServiceClient]] = lambda _: ()
) -> APIRouter:
    """A router with the route; `calls` returns the clients of the services that are called."""
    router = APIRouter()

    @router.get("/health/ready")
    async def ready(ctx: Ctx) -> JSONResponse:
        clients = list(calls(ctx))
        # A service that we call may be away: we are ready all the same, and report it.
        database, *others = await asyncio.gather(
            _database(ctx), *(client.health() for client in clients)
        )
        well = database == "ok"
        answer: dict[str, object] = {
            "service": service,
            "status": "ready" if well else "not_ready",
            "database": database,
            "timestamp": cloudevents.format_time(ctx.now()),
        }
        if clients:
            names = [client.name.replace("-", "_") for client in clients]
            answer["external_apis"] = dict(zip(names, others, strict=True))
        return JSONResponse(answer, 200 if well else 503)

    return router


async def _database(ctx: Context) -> str:
    try:
        async with ctx.store.connection() as connection:
            await connection.fetchval("SELECT 1 FROM inbox LIMIT 1")
    except FunctionError as error:
        return error.detail
    return "ok"
