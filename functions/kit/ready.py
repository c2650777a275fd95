"""`GET /health/ready` of a service: its database, and the services that it calls."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import httpx
from fastapi import APIRouter
from starlette.responses import JSONResponse

from functions.kit import wire
from functions.kit.context import Context
from functions.kit.errors import FunctionError
from functions.kit.settings import ServiceSettings
from functions.kit.web import Ctx


def ready_route(service: str, external: Mapping[str, str] | None = None) -> APIRouter:
    """A router with the route; `external` maps a service's name to the setting with its URL."""
    router = APIRouter()

    @router.get("/health/ready")
    async def ready(ctx: Ctx) -> JSONResponse:
        database, *others = await asyncio.gather(
            _database(ctx), *(_answers(ctx, setting) for setting in (external or {}).values())
        )
        well = database == "ok"
        answer: dict[str, object] = {
            "service": service,
            "status": "ready" if well else "not_ready",
            "database": database,
            "timestamp": wire.format_time(ctx.now()),
        }
        if external:
            names = [name.replace("-", "_") for name in external]
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


async def _answers(ctx: Context, setting: str) -> str:
    # Whoever we call may be away: we are ready all the same, and say so when asked for more.
    try:
        response = await ctx.http.get(f"{_url(ctx, setting)}/health", timeout=2.0)
    except httpx.HTTPError as error:
        return type(error).__name__
    return "ok" if response.is_success else f"answers {response.status_code}"


def _url(ctx: Context, setting: str) -> str:
    return str(getattr(ctx.settings(ServiceSettings), setting)).rstrip("/")
