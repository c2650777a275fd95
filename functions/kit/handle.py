"""Handling one event: what a function declared, and one call of it, once where it has an inbox."""

from __future__ import annotations

import logging
import time
import typing
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from starlette.routing import BaseRoute, Router

from functions.events.base import Event, Request
from functions.kit import cause, envelope, log, trace, wire
from functions.kit.context import Context
from functions.kit.durable import inbox
from functions.kit.errors import FunctionError, shortened
from functions.kit.metrics import Gauges
from functions.kit.routing import nothing_here

logger = logging.getLogger(__name__)

Result = Event | Sequence[Event] | None
Handler = Callable[[typing.Any, Context], Awaitable[Result]]
Render = Callable[[Sequence[Event]], str]
Start = Callable[[Context], Awaitable[None]]
Ignores = Callable[[typing.Any, Context], Awaitable[bool]]
# Of the time for an event; the rest is for its transaction, and for telling what came of it.
WORK = 1 / 3

Health = Callable[[Context], Mapping[str, object]]


@dataclass(frozen=True)
class Spec:
    """What a function declared: the source of contract tests, EventTypes and documents."""

    name: str
    handler: Handler
    inputs: tuple[type[Event], ...]
    emits: tuple[type[Event], ...]
    schedules: tuple[str, ...]
    inbox: bool
    recorded: bool
    renders: Mapping[str, Render]
    routes: tuple[BaseRoute, ...]
    start: Start | None = None
    health: Health | None = None
    gauges: Gauges | None = None
    people: bool = True
    public: tuple[str, ...] = ()
    ignores: Ignores | None = None

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


async def handle(
    spec: Spec,
    ctx: Context,
    message: wire.Message,
    event: Event,
    digest: str | None = None,
) -> Sequence[wire.Message]:
    """Call the function, once for each event where it has an inbox; return what is to be sent.

    `digest` is of what a person asked for under a key of their own.
    """
    identity = event.identity()
    key = inbox.Key(spec.name, message.source, message.id, requested_by=_person(message))
    if identity is not None:
        first = (message.source, message.id)
        key = replace(key, source=message.type, id=identity, event=first)
        digest = None  # no person's key: it is named by what it says
    if spec.inbox:
        inbox.check(key.source, key.id)
    with (
        log.handling(
            function=spec.name,
            event_id=message.id,
            event_type=message.type,
            correlation_id=message.extensions.get("correlationid", message.id),
            trace_id=trace.id_of(message.extensions),
        ),
        trace.processing(message),
        cause.acting(cause.of_event(message)),
    ):
        began = time.perf_counter()
        ctx = replace(ctx, until=time.monotonic() + ctx.resources.process.timeout_seconds * WORK)
        meter = ctx.resources.meter
        try:
            if spec.inbox:
                done = await _once(spec, ctx, message, event, key, digest)
            else:
                done = inbox.Answered(await _again(spec, ctx, message, event, key), repeated=False)
            meter.event(event, "repeated" if done.repeated else "ok", ctx.now())
            fields = {"sent": len(done.answer), "repeated": done.repeated}
            logger.info("handled", extra={"fields": fields})
            return typing.cast(list[wire.Message], done.answer)
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
                await inbox.remember_failure(ctx.store, key, message.type, took_ms, detail)
            raise


def _person(message: wire.Message) -> str | None:
    """Who asked for it: the console names whoever pressed."""
    named = message.extensions.get("requestedby")
    return shortened(named, 200) if named else None


async def _once(
    spec: Spec,
    ctx: Context,
    message: wire.Message,
    event: Event,
    key: inbox.Key,
    digest: str | None,
) -> inbox.Answered:
    async def work(tx: typing.Any) -> list[dict[str, typing.Any]]:
        return [wire.to_json(m) for m in await _call(spec, ctx, message, event, key, digest, tx)]

    patience_s = ctx.resources.process.timeout_seconds * 0.8
    done = await inbox.once(ctx.store, key, message.type, patience_s, work, digest)
    return inbox.Answered([wire.from_json(document) for document in done.answer], done.repeated)


async def _again(
    spec: Spec, ctx: Context, message: wire.Message, event: Event, key: inbox.Key
) -> list[wire.Message]:
    """A function without an inbox, which may be called as often as one likes."""

    async def work() -> list[wire.Message]:
        return await _call(spec, ctx, message, event, key)

    if spec.recorded:
        return await inbox.recorded(ctx.store, key, message.type, work)
    return await work()


async def _call(
    spec: Spec,
    ctx: Context,
    message: wire.Message,
    event: Event,
    key: inbox.Key,
    digest: str | None = None,
    tx: typing.Any = None,
) -> list[wire.Message]:
    # With its digest, as steps that are kept outlive a request that failed.
    name = f"{key.source}#{key.id}" if digest is None else f"{key.source}#{key.id}#{digest}"
    ctx = ctx.within(name, tx)

    def sealed(result: Result) -> list[wire.Message]:
        messages = envelope.seal(
            result,
            cause=message,
            key=key,
            source=spec.source,
            emits=spec.emits,
            overrides=ctx.resources.process.overrides,
            at=ctx.now(),
        )
        return trace.created(messages)

    try:
        result = await spec.handler(event, ctx)
    except FunctionError as error:
        if error.events:
            try:
                await ctx.publisher.publish(sealed(error.events))
            except FunctionError as unsent:
                error.add(f"its events were not sent: {unsent}")
        raise
    return [] if result is None else sealed(result)
