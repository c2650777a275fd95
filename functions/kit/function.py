"""@function: a typed message comes in, a decision is made, messages go out.

The decorator keeps the contract of every function: decode, claim in the inbox, call, reply or
publish, map errors to the status that a broker understands. This is the only place that knows
functions-framework, whose own CloudEvents decorator answers `200 OK` as text, which a broker takes
for a broken reply: it would retry and dead-letter every event that was handled.
"""

from __future__ import annotations

import functools
import json
import logging
import time
import types
import typing
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from uuid import uuid4

import functions_framework.aio
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Router

from functions.events.base import AnyEvent, Event, Request
from functions.kit import envelope, inbox, log, trace, wire
from functions.kit.answers import failure
from functions.kit.context import Context, process_context
from functions.kit.errors import FunctionError, shortened
from functions.kit.metrics import Gauges
from functions.kit.routing import nothing_here
from functions.kit.routing import route as route  # functions know one module
from functions.kit.runs import runs

logger = logging.getLogger(__name__)

Result = Event | Sequence[Event] | None
Handler = Callable[[typing.Any, Context], Awaitable[Result]]
Render = Callable[[Sequence[Event]], str]
Target = Callable[[HttpRequest], Awaitable[Response]]
Start = Callable[[Context], Awaitable[None]]
Health = Callable[[Context], Mapping[str, object]]


@dataclass(frozen=True)
class Spec:
    """What a function declared: the source of contract tests, EventTypes and documents."""

    name: str
    handler: Handler
    inputs: tuple[type[Event], ...]
    emits: tuple[type[Event], ...]
    inbox: bool
    renders: Mapping[str, Render]
    routes: tuple[BaseRoute, ...]
    start: Start | None = None
    health: Health | None = None
    gauges: Gauges | None = None

    @property
    def source(self) -> str:
        """The `source` of the events that it emits."""
        return f"/functions/{self.name.replace('_', '-')}"

    @cached_property
    def router(self) -> Router:
        """Everything but `POST /`."""
        # A redirect to another path would lose a POST, and reads queries that are no UTF-8.
        return Router(self.routes, default=nothing_here, redirect_slashes=False)

    @property
    def request(self) -> type[Event]:
        """The event that plain JSON is taken for: the request, or else the only input."""
        return next((kind for kind in self.inputs if issubclass(kind, Request)), self.inputs[0])


def function(
    *,
    emits: Sequence[type[Event]] = (),
    inbox: bool = False,
    renders: Mapping[str, Render] | None = None,
    routes: Sequence[BaseRoute] = (),
    start: Start | None = None,
    health: Health | None = None,
    gauges: Gauges | None = None,
) -> Callable[[Handler], Target]:
    """Make a deployable of `async def name(event: A | B, ctx) -> Event | list[Event] | None`.

    `inbox`: the function writes; its answer to an event is recorded and given again.
    `renders`: media type -> how a person's request may have its result rendered.
    `routes`: further HTTP routes, made with `route`.
    `start`: called when a process begins to serve. `health`: what `GET /health` says besides.
    `gauges`: what `GET /metrics` says besides.
    """

    def decorate(handler: Handler) -> Target:
        spec = Spec(
            handler.__name__,
            handler,
            _inputs(handler),
            tuple(emits),
            inbox,
            dict(renders or {}),
            (*routes, *((route("/runs", runs),) if inbox else ())),
            start,
            health,
            gauges,
        )

        @functools.wraps(handler)
        async def target(request: HttpRequest) -> Response:
            return await respond(spec, request, process_context(spec.name))

        # Not `wraps`' annotations: those are the event's, and the framework reads them.
        target.__annotations__ = {"request": HttpRequest, "return": Response}
        target.__dict__["spec"] = spec
        return typing.cast(Target, functions_framework.aio.http(target))

    return decorate


def spec_of(target: object) -> Spec:
    """What a target declared."""
    spec = getattr(target, "spec", None)
    if not isinstance(spec, Spec):
        raise TypeError(f"{target!r} was not made with @function")
    return spec


async def respond(spec: Spec, request: HttpRequest, ctx: Context) -> Response:
    """Answer one HTTP request as the contract says."""
    if request.method != "POST" or request.scope["path"] != "/":
        request.scope["context"] = ctx
        # The framework sends what a target returns by calling it as ASGI: a router will do.
        return typing.cast(Response, spec.router)
    body = await request.body()
    headers = request.scope["headers"]
    if wire.is_event(headers):
        return await _from_broker(spec, ctx, headers, body)
    return await _from_person(spec, ctx, request, body)


async def _from_broker(spec: Spec, ctx: Context, headers: wire.Headers, body: bytes) -> Response:
    try:
        message = wire.decode(headers, body)
        event = envelope.open_(message, spec.inputs)
        sent = await _handle(spec, ctx, message, event)
        if not sent:
            return Response(status_code=202)
        if len(sent) == 1:
            reply_headers, reply_body = wire.encode(sent[0])
            return Response(reply_body, 200, dict(reply_headers))
        await ctx.publisher.publish(sent)
        return Response(status_code=202)
    except Exception as error:
        return failure(error)


async def _from_person(spec: Spec, ctx: Context, request: HttpRequest, body: bytes) -> Response:
    key = request.headers.get("idempotency-key") or str(uuid4())
    try:
        if spec.request is AnyEvent:
            raise wire.NotAnEvent(["this function takes CloudEvents only: send ce- headers"])
        message = wire.Message(
            id=key,
            source="/http",
            type=spec.request.type,
            data=_as_json(request, body),
            datacontenttype="application/json",
            time=wire.format_time(ctx.now()),
        )
        event = envelope.open_(message, (spec.request,))
        sent = await _handle(spec, ctx, message, event)
        to_sink = bool(ctx.resources.process.k_sink)
        if to_sink:
            await ctx.publisher.publish(sent)
        accept = request.headers.get("accept", "")
        for media_type, render in spec.renders.items():
            if media_type in accept:
                events = [envelope.open_(m, spec.emits) for m in sent]
                return Response(render(events), media_type=media_type)
        answer = {"events": [wire.to_json(m) for m in sent], "published": to_sink}
        return JSONResponse(answer, headers={"Idempotency-Key": key})
    except Exception as error:
        response = failure(error)
        response.headers["Idempotency-Key"] = key
        return response


def _as_json(request: HttpRequest, body: bytes) -> bytes:
    """A person's data as JSON: it may be YAML, and no data is an empty object."""
    if "yaml" not in request.headers.get("content-type", ""):
        return body or b"{}"
    import yaml

    try:
        return json.dumps(yaml.safe_load(body) or {}, default=str).encode()
    except (yaml.YAMLError, ValueError) as error:
        raise wire.NotAnEvent([f"the body is not valid YAML: {error}"]) from None


async def _handle(
    spec: Spec, ctx: Context, message: wire.Message, event: Event
) -> Sequence[wire.Message]:
    """Call the function, once for each event where it has an inbox; return what is to be sent."""
    identity = event.identity()
    key = inbox.Key(
        spec.name, message.source if identity is None else message.type, identity or message.id
    )

    async def work(ctx: Context) -> list[wire.Message]:
        try:
            result = await spec.handler(event, ctx)
        except FunctionError as error:
            if error.events:
                await ctx.publisher.publish(seal(error.events, ctx))
            raise
        return seal(result, ctx)

    def seal(result: Result, ctx: Context) -> list[wire.Message]:
        sealed = envelope.seal(
            result,
            cause=message,
            key=key,
            source=spec.source,
            emits=spec.emits,
            overrides=ctx.resources.process.overrides,
            at=ctx.now(),
        )
        return trace.created(sealed)

    correlation = message.extensions.get("correlationid", message.id)
    with (
        log.handling(
            function=spec.name,
            event_id=message.id,
            event_type=message.type,
            correlation_id=correlation,
            trace_id=trace.id_of(message.extensions),
        ),
        trace.processing(message),
    ):
        began = time.perf_counter()
        meter = ctx.resources.meter
        scoped = ctx.within(key=f"{key.source}#{key.id}", tx=None)
        try:
            if not spec.inbox:
                sent = await work(scoped)
                meter.event(event, "ok", ctx.now())
                logger.info("handled", extra={"fields": {"sent": len(sent)}})
                return sent

            async def recorded(tx: typing.Any) -> list[dict[str, typing.Any]]:
                return [wire.to_json(m) for m in await work(ctx.within(scoped.key, tx))]

            patience_s = ctx.resources.process.timeout_seconds * 0.8
            done = await inbox.once(ctx.store, key, message.type, patience_s, recorded)
            sent = [wire.from_json(document) for document in done.answer]
            meter.event(event, "repeated" if done.repeated else "ok", ctx.now())
            fields = {"sent": len(sent), "repeated": done.repeated}
            logger.info("handled", extra={"fields": fields})
            return sent
        except Exception as error:
            detail = f"{type(error).__name__}: {error}"
            known = isinstance(error, FunctionError)
            meter.event(event, type(error).__name__, ctx.now())
            logger.log(
                logging.WARNING if known else logging.ERROR,
                detail,
                exc_info=None if known else error,
            )
            if spec.inbox:
                took_ms = (time.perf_counter() - began) * 1000
                await _remember_failure(ctx, key, message.type, took_ms, detail)
            raise


async def _remember_failure(
    ctx: Context, key: inbox.Key, kind: str, took_ms: float, detail: str
) -> None:
    try:
        await inbox.record_failure(ctx.store, key, kind, took_ms, shortened(detail, 1000))
    except FunctionError as error:
        logger.warning("could not record the failed run: %s", error)


def _inputs(handler: Handler) -> tuple[type[Event], ...]:
    hint = typing.get_type_hints(handler).get("event")
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if not all(isinstance(kind, type) and issubclass(kind, Event) for kind in kinds):
        raise TypeError(f"{handler.__name__}: annotate `event` with its event classes")
    return kinds
