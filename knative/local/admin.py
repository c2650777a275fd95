"""What the command line asks the running runtime: JSON below /_knative."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from knative.local.broker.records import EventRecord, Wanted

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
        since = int(query["since"]) if "since" in query else None
        found = await runtime.broker.events(kind, since, int(query.get("limit", 50)))
        return JSONResponse([event_json(record) for record in found])

    async def search(request: Request) -> Response:
        query = {k: v for k, v in request.query_params.items() if v}
        numbers = {name: query.pop(name) for name in ("before", "limit") if name in query}
        unknown = query.keys() - {"type", "subject", "trigger", "correlation"}
        if unknown or not all(text.isdecimal() for text in numbers.values()):
            detail = f"{', '.join(unknown)}: no such filter" if unknown else "not a number"
            return JSONResponse({"detail": detail}, 422)
        wanted = Wanted(**query, **{name: min(int(n), 10**15) for name, n in numbers.items()})  # type: ignore[arg-type]  # each name has its own kind
        found = await runtime.broker.search(wanted)
        return JSONResponse([event_json(record) for record in found])

    async def dead_letters(request: Request) -> Response:
        found = await runtime.broker.dead_letters(int(request.query_params.get("limit", 100)))
        return JSONResponse([event_json(record) for record in found])

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
        ]
    )


async def _follow(runtime: Runtime, kind: str | None) -> AsyncIterator[str]:
    changes = runtime.broker.follow()
    yield json.dumps({"following": True}) + "\n"
    with contextlib.suppress(GeneratorExit):
        async for change in changes:
            if kind is None or change.type == kind:
                yield json.dumps(dataclasses.asdict(change)) + "\n"


def event_json(record: EventRecord) -> dict[str, Any]:
    """An event with its deliveries; `data` is JSON or text where it is, else base64."""
    body = dataclasses.asdict(record)
    data = body.pop("data")
    try:
        body["data"] = json.loads(data) if data else None
    except ValueError:
        try:
            body["data"] = data.decode()
        except UnicodeDecodeError:
            body["data_base64"] = base64.b64encode(data).decode()
    for delivery in body["deliveries"]:
        for attempt in delivery["attempts"]:
            attempt["answer"] = attempt["answer"].decode(errors="replace")
    return body
