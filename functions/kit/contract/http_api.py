"""An HTTP API as a deployable: a FastAPI application behind a target of functions-framework."""

from __future__ import annotations

import logging
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import pydantic.v1  # noqa: F401 - FastAPI would in the first request, for a tenth of a second
from fastapi import Depends, FastAPI, Header, Query, Request
from pydantic import AfterValidator, StringConstraints, ValidationError
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from functions.events.base import Event, no_dot_segment
from functions.kit import cloudevents
from functions.kit.clients.off_loop import off_loop
from functions.kit.clients.service import header_key
from functions.kit.context import Context, process_context
from functions.kit.contract import callers
from functions.kit.contract.body import BodyLimit
from functions.kit.contract.cross_origin import is_hidden
from functions.kit.contract.framework import Target, known_to_framework
from functions.kit.contract.handle import Gauges, Rules
from functions.kit.contract.head import HeadAsGet
from functions.kit.contract.problem import failure, refusal
from functions.kit.durable import inbox
from functions.kit.durable.claim_work_settle import Outcome
from functions.kit.durable.database import Connection
from functions.kit.errors import FunctionError, PermanentError
from functions.kit.telemetry import correlation, log, trace

logger = logging.getLogger(__name__)

Build = Callable[[], FastAPI]
Start = Callable[[Context], Awaitable[None]]
Consume = Callable[[cloudevents.Message, Context], Awaitable[None]]
Work = Callable[["Connection"], Awaitable[Any]]


@dataclass(frozen=True)
class Api:
    """What an API target declared."""

    name: str
    build: Build
    gauges: Gauges | None = None
    start: Start | None = None
    inputs: tuple[type[Event], ...] = ()
    emits: tuple[type[Event], ...] = ()
    checks_origin: bool = False
    schedules: tuple[str, ...] = ()
    public: tuple[str, ...] = ()
    proven: tuple[str, ...] = ()
    retention: Rules | None = None
    needs_database: bool = True


def api(
    name: str,
    build: Build,
    gauges: Gauges | None = None,
    start: Start | None = None,
    *,
    inputs: Sequence[type[Event]] = (),
    emits: Sequence[type[Event]] = (),
    checks_origin: bool = False,
    schedules: Sequence[str] = (),
    public: Sequence[str] = (),
    proven: Sequence[str] = (),
    consume: Consume | None = None,
    retention: Rules | None = None,
    needs_database: bool = True,
) -> Target:
    """Make a deployable of a FastAPI application; endpoints get the context as `Ctx`.

    `gauges`: what `GET /metrics` reports besides. `start`: called when a process begins to serve.
    `consume`: handles an event from a broker, at `POST /`, where no other method is allowed then;
    `inputs`, `emits` and `schedules` are of an API that takes events.
    `checks_origin`: it checks by itself which pages may send it forms.
    `public`: what the paths begin with that a request from outside the cluster reaches, where there
    are such; the rest, events and ticks too, is for the cluster.
    `proven`: what the paths begin with whose callers prove themselves by a session or the like;
    others show a token, where OIDC_AUDIENCE is set.
    `retention`: what is deleted from its tables, and when.
    `needs_database`: it is ready only while its tables can be reached.
    """
    made: list[FastAPI] = []

    def built() -> FastAPI:
        app = build()
        app.add_middleware(correlation.CorrelationMiddleware)
        if consume is not None:
            app.add_middleware(_Events, consume=consume)
        app.add_middleware(BodyLimit)
        app.add_middleware(HeadAsGet)
        app.add_middleware(_Front, public=tuple(public), proven=tuple(proven))
        return app

    async def target(request: HttpRequest) -> Response:
        if not made:
            made.append(built())
        ctx = process_context(name)
        request.scope["context"] = ctx
        # What a target returns is called as ASGI: an app will do.
        return typing.cast(Response, made[0])

    target.__name__ = target.__qualname__ = name
    target.__dict__["api"] = Api(
        name,
        built,
        gauges,
        start,
        tuple(inputs),
        tuple(emits),
        checks_origin,
        tuple(schedules),
        tuple(public),
        tuple(proven),
        retention,
        needs_database,
    )
    return known_to_framework(target)


class _Front:
    """Answers who is outside and asks for what is not public, or who proves nothing."""

    def __init__(self, app: ASGIApp, public: tuple[str, ...], proven: tuple[str, ...]) -> None:
        self._app = app
        self._public = public
        self._proven = proven

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ctx: Context = scope["context"]
        answer: Response | None
        if is_hidden(scope, self._public, ctx.resources.process.cluster_domain):
            answer = refusal(404, f"no such path: {scope['path']}")
        else:
            answer = await callers.refused(scope, ctx, self._proven)
        await (answer or self._app)(scope, receive, send)


class _Events:
    """Answers at `/`; in front of FastAPI, whose routes take longer than an event does."""

    def __init__(self, app: ASGIApp, consume: Consume) -> None:
        self._app = app
        self._consume = consume

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._app
        if scope["path"] == "/" and scope["method"] == "POST":
            ctx = scope["context"]
            request = HttpRequest(scope, receive)
            answer = await accepted(request, lambda message: self._consume(message, ctx))
        elif scope["path"] == "/":
            answer = refusal(405, "POST a CloudEvent", {"Allow": "POST"})
        await answer(scope, receive, send)


async def accepted(
    request: HttpRequest, work: Callable[[cloudevents.Message], Awaitable[None]]
) -> Response:
    """The answer to an event from a broker, in an API: 202, or a status that a broker understands.

    `work` handles the event; what it raises is answered, and logged where it was not foreseen.
    """
    try:
        body = await request.body()
        message = await off_loop(len(body), cloudevents.decode, request.scope["headers"], body)
        inbox.check(message.source, message.id)
        with (
            log.handling(event_id=message.id, event_type=message.type),
            trace.processing(message),
            correlation.correlated(correlation.of_event(message)),
        ):
            try:
                await work(message)
            except (FunctionError, cloudevents.NotAnEvent, ValidationError):
                raise
            except Exception as error:
                logger.error("unexpected error", exc_info=error)
                raise
    except Exception as error:
        return failure(error)
    return Response(status_code=202)


async def _context(request: Request) -> Context:
    # Not a plain function: FastAPI would call it in a thread, for each request.
    found = request.scope["context"]
    assert isinstance(found, Context)
    return found


async def _connection(request: Request) -> AsyncIterator[Connection]:
    async with (await _context(request)).store.connection() as connection:
        yield connection


# Ids and names of any alphabet, but without control characters; text without the zero character.
Id = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$"),
    AfterValidator(no_dot_segment),
]
Text = Annotated[str, StringConstraints(max_length=10_000, pattern=r"^[^\x00]*$")]
Limit = Annotated[int, Query(ge=1, le=10_000, description="at most so many")]
Offset = Annotated[int, Query(ge=0, le=2**31 - 1, description="leave out the first so many")]
Ctx = Annotated[Context, Depends(_context)]
# A connection for single statements, given back before the answer is sent.
Db = Annotated[Connection, Depends(_connection, scope="function")]
IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=255, description="a repeat answers the first result"),
    AfterValidator(lambda key: key and header_key(key)),
]


async def once(ctx: Ctx, key: str | None, route: str, request: object, work: Work) -> Any:
    """Do a write once for each Idempotency-Key of a route; a repeat gets the first JSON answer.

    `request` is what was asked for: the same key with another request is refused.
    """
    if key is None:
        async with ctx.store.transaction() as tx:
            return await work(tx)

    async def recorded(tx: Connection) -> dict[str, Any]:
        return {"request": request, "answer": await work(tx)}

    found = await inbox.once(ctx.store, inbox.Key(ctx.function, route, key), "http", 30.0, recorded)
    return _answer_to(request, found)


async def called_once(
    ctx: Ctx, key: str | None, route: str, request: object, work: Callable[[], Awaitable[Any]]
) -> Any:
    """`once` for work that calls services: it is claimed, and no transaction is open meanwhile."""
    if key is None:
        return await work()

    async def recorded() -> Outcome:
        return Outcome({"request": request, "answer": await work()})

    name = inbox.Key(ctx.function, route, key)
    found = await ctx.resources.durable.once(name, "http", 30.0, recorded)
    return _answer_to(request, found)


async def answered(ctx: Ctx, key: str | None, route: str) -> bool:
    """Is there an answer to a request already?"""
    if key is None:
        return False
    async with ctx.store.connection() as connection:
        found = await inbox.find(connection, inbox.Key(ctx.function, route, key), None)
    return found is not None


def _answer_to(request: object, found: inbox.Answered) -> Any:
    if found.answer["request"] != request:
        raise PermanentError("Idempotency-Key: it was used for another request")
    return found.answer["answer"]


def created(answer: Any) -> Response:
    """201 with a JSON body."""
    return JSONResponse(answer, 201)
