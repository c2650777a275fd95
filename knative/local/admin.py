"""What the command line asks the running runtime: JSON below /_knative."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from knative.local import data_folder
from knative.local.broker.records import EventRecord, State, Wanted
from knative.local.durations import duration_s
from knative.local.errors import StartError
from knative.local.event_history import histories
from knative.local.event_json import change_json, event_json
from knative.local.runtime_status import describe, services_of

if TYPE_CHECKING:
    from knative.local.runtime import Runtime


def admin_app(runtime: Runtime) -> Starlette:
    """The administration of `runtime` as an ASGI application."""

    async def status(_: Request) -> Response:
        return JSONResponse(await describe(runtime))

    async def services(_: Request) -> Response:
        return JSONResponse(services_of(runtime))

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
        wanted = _wanted(request, runtime)
        if request.query_params.get("follow"):
            lines = _follow(runtime, wanted)
            return StreamingResponse(lines, media_type="application/x-ndjson")
        found = await runtime.broker.search(wanted)
        found.sort(key=lambda record: record.seq)
        return await _listed(found)

    async def search(request: Request) -> Response:
        return await _listed(await runtime.broker.search(_wanted(request, runtime)))

    async def values(_: Request) -> Response:
        return JSONResponse(await runtime.broker.values())

    async def event(request: Request) -> Response:
        try:
            found = await histories(runtime.broker, request.query_params.get("id", ""))
        except LookupError as error:
            raise QueryError(error.args[0]) from None
        return JSONResponse(found)

    async def redrive(request: Request) -> Response:
        return JSONResponse({"redriven": await runtime.broker.redrive(_number(request, "seq"))})

    async def dead_letters(request: Request) -> Response:
        limit = _number(request, "limit", minimum=1) or 100
        return await _listed(await runtime.broker.dead_letters(limit))

    async def advance(request: Request) -> Response:
        try:
            made = await runtime.advance(duration_s(request.query_params.get("by", "")))
        except ValueError as error:
            raise QueryError(str(error)) from None
        except TimeoutError as error:
            detail = f"stopped at {runtime.clock.now().isoformat()}: {error}"
            return JSONResponse({"detail": detail}, 504)
        return JSONResponse({"now": runtime.clock.now().isoformat(), "timers": made})

    async def faults(request: Request) -> Response:
        if request.method == "POST":
            try:
                runtime.faults.add(request.query_params.get("fault", ""))
            except ValueError as error:
                raise QueryError(str(error)) from None
        return JSONResponse(runtime.faults.list())

    async def clear_faults(request: Request) -> Response:
        return JSONResponse({"cleared": runtime.faults.clear(_number(request, "id"))})

    async def reset(_: Request) -> Response:
        if runtime.reset is None:
            message = "what runs here cannot begin anew by itself: end it, and run `clean`"
            return JSONResponse({"detail": message}, 409)
        try:
            data_folder.check_deletable(runtime.options.data)
        except StartError as error:
            return JSONResponse({"detail": str(error)}, 409)
        runtime.reset.set()
        return JSONResponse({"resetting": True}, 202)

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
            Route("/_knative/events/values", values),
            Route("/_knative/event", event),
            Route("/_knative/redrive", redrive, methods=["POST"]),
            Route("/_knative/dead-letters", dead_letters),
            Route("/_knative/faults", faults, methods=["GET", "POST"]),
            Route("/_knative/faults/clear", clear_faults, methods=["POST"]),
            Route("/_knative/clock/advance", advance, methods=["POST"]),
            Route("/_knative/reset", reset, methods=["POST"]),
            Route("/_knative/crash-broker", crash_broker, methods=["POST"]),
        ],
        exception_handlers={QueryError: _refused},
    )


async def _follow(runtime: Runtime, wanted: Wanted) -> AsyncIterator[str]:
    changes = runtime.broker.follow()
    yield json.dumps({"following": True}) + "\n"
    with contextlib.suppress(GeneratorExit):
        async for change in changes:
            this = dataclasses.replace(wanted, after=change.seq - 1, before=change.seq + 1)
            for record in await runtime.broker.search(this):
                yield json.dumps(change_json(change, record)) + "\n"


class QueryError(ValueError):
    """A query asks for what there is not; the text says what and where."""


_TEXTS = ("type", "source", "subject", "id", "trigger", "state", "correlation")


async def _listed(found: Sequence[EventRecord]) -> Response:
    """They may be thousands."""
    return await asyncio.to_thread(lambda: JSONResponse([event_json(one) for one in found]))


def _wanted(request: Request, runtime: Runtime) -> Wanted:
    """The filters of a query; each may be empty, which is none."""
    query = {name: text for name, text in request.query_params.items() if text}
    places = {"since", "before", "cursor"}
    rest = query.keys() - {*_TEXTS, *places, "extension", "from", "to", "limit", "follow"}
    if rest:
        raise QueryError(f"{', '.join(sorted(rest))}: no such filter")
    if query.get("state", State.PENDING) not in list(State):
        raise QueryError(f"state: no {query['state']!r}; there are: {', '.join(State)}")
    extensions = {}
    for pair in request.query_params.getlist("extension"):
        name, equals, value = pair.partition("=")
        if not (equals and name.isascii() and name.isalnum() and name == name.lower()):
            raise QueryError(f"extension: {pair!r} is not name=value with a lower-case name")
        extensions[name] = value
    now = runtime.timeline.now()
    return Wanted(
        **{name: query[name] for name in _TEXTS if name in query},
        extensions=extensions,
        since=_time(query, "from", now),
        until=_time(query, "to", now),
        before=_number(request, "cursor") or _number(request, "before"),
        after=_number(request, "since"),
        limit=_number(request, "limit", minimum=1) or 50,
    )


def _time(query: Mapping[str, str], name: str, now: float) -> float | None:
    """A time, or one so long ago, in seconds since 1970."""
    if (text := query.get(name)) is None:
        return None
    with contextlib.suppress(ValueError):
        return now - duration_s(text)
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise QueryError(f"{name}: {text!r} is no time like 2026-11-25T08:00, nor 15m") from None


def _number(request: Request, name: str, *, minimum: int = 0) -> int | None:
    text = request.query_params.get(name)
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 1000 and int(text) >= minimum):
        raise QueryError(f"{name}: must be a number, {minimum} or more")
    return min(int(text), 10**15)


async def _refused(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 422)
