"""What the command line asks the running runtime: JSON below /_knative."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from knative.local.broker.records import Wanted
from knative.local.event_json import change_json, event_json

if TYPE_CHECKING:
    from knative.local.runtime import Runtime


def admin_app(runtime: Runtime) -> Starlette:
    """The administration of `runtime` as an ASGI application."""

    async def status(_: Request) -> Response:
        return JSONResponse(runtime.describe())

    async def services(_: Request) -> Response:
        return JSONResponse(runtime.services())

    async def settled(_: Request) -> Response:
        counts = await runtime.broker.counts()
        return JSONResponse({"settled": runtime.settled(), "counts": counts})

    async def fire(request: Request) -> Response:
        try:
            source = runtime.clock.find(request.query_params.get("name", ""))
        except LookupError as error:
            return JSONResponse({"detail": error.args[0]}, 404)
        tick = await runtime.clock.fire(source)
        return JSONResponse(dataclasses.asdict(tick), 200 if tick.accepted else 502)

    async def events(request: Request) -> Response:
        query = request.query_params
        kind = query.get("type")
        if query.get("follow"):
            lines = _follow(runtime, kind)
            return StreamingResponse(lines, media_type="application/x-ndjson")
        since = _number(request, "since", None)
        limit = _number(request, "limit", 50, least=1)
        found = await runtime.broker.events(kind, since, limit or 50)
        return JSONResponse([event_json(record) for record in found])

    async def search(request: Request) -> Response:
        names = {"type", "subject", "trigger", "correlation"}
        query = {k: v for k, v in request.query_params.items() if v}
        if unknown := query.keys() - names - {"before", "limit"}:
            return JSONResponse({"detail": f"{', '.join(unknown)}: no such filter"}, 422)
        wanted = Wanted(
            **{name: query[name] for name in names if name in query},
            before=_number(request, "before", None),
            limit=_number(request, "limit", 50, least=1) or 50,
        )
        found = await runtime.broker.search(wanted)
        return JSONResponse([event_json(record) for record in found])

    async def dead_letters(request: Request) -> Response:
        limit = _number(request, "limit", 100, least=1)
        found = await runtime.broker.dead_letters(limit or 100)
        return JSONResponse([event_json(record) for record in found])

    async def crash_broker(_: Request) -> Response:
        return JSONResponse({"lost": await runtime.broker.lose_deliveries()})

    async def home(_: Request) -> Response:
        return JSONResponse({"services": runtime.addresses(), "administration": "/_knative/status"})

    return Starlette(
        routes=[
            Route("/", home),
            Route("/_knative/status", status),
            Route("/_knative/services", services),
            Route("/_knative/settled", settled),
            Route("/_knative/fire", fire, methods=["POST"]),
            Route("/_knative/events", events),
            Route("/_knative/events/search", search),
            Route("/_knative/dead-letters", dead_letters),
            Route("/_knative/crash-broker", crash_broker, methods=["POST"]),
        ],
        exception_handlers={NotANumberError: _refused},
    )


async def _follow(runtime: Runtime, kind: str | None) -> AsyncIterator[str]:
    changes = runtime.broker.follow()
    yield json.dumps({"following": True}) + "\n"
    with contextlib.suppress(GeneratorExit):
        async for change in changes:
            if kind is None or change.type == kind:
                record = await runtime.broker.event(change.seq)
                if record is not None:
                    yield json.dumps(change_json(change, record)) + "\n"


class NotANumberError(ValueError):
    """A query's number is none; the text says which."""


def _number(request: Request, name: str, default: int | None, *, least: int = 0) -> int | None:
    text = request.query_params.get(name)
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 1000 and int(text) >= least):
        raise NotANumberError(f"{name}: must be a number, {least} or more")
    return min(int(text), 10**15)


async def _refused(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 422)
