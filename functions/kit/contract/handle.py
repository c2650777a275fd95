"""Handling one event: what a function declared, and one call of it, once where it has an inbox."""

from __future__ import annotations

import logging
import time
import typing
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from starlette.routing import BaseRoute, Router

from functions.events.base import Event, Request, joined
from functions.events.schedule import ScheduleDue
from functions.kit import cloudevents
from functions.kit.context import Context
from functions.kit.contract import envelope
from functions.kit.contract.routes import nothing_here
from functions.kit.durable import cancellations, inbox
from functions.kit.durable.claim_work_settle import Finish, Outcome
from functions.kit.durable.retention import Rule
from functions.kit.errors import Cancelled, FunctionError, TemporaryError, TooLate, shortened
from functions.kit.telemetry import correlation, log, trace
from functions.kit.telemetry.metrics import Gauge

if typing.TYPE_CHECKING:
    from functions.kit.durable.database import Connection
    from functions.kit.durable.outbox import Entry

logger = logging.getLogger(__name__)

Result = Event | Sequence[Event] | None


class Settling(typing.Protocol):
    """What a function leaves to the transaction that settles: writes on which its events depend."""

    async def __call__(self, tx: Connection) -> Result: ...


Handler = Callable[[typing.Any, Context], Awaitable[Result | Settling]]
Render = Callable[[Sequence[Event]], str]
Start = Callable[[Context], Awaitable[None]]
Rules = Callable[[Context], Sequence[Rule]]
Ignores = Callable[[typing.Any, Context], Awaitable[bool]]
# Of the time for an event; the rest is for its transaction and for the record of its failure.
WORK = 1 / 3
# Of the same time, how long an event waits for others that work on the same.
WAIT = 0.8
# The `source` of ad-hoc requests.
AD_HOC = "/http"

Health = Callable[[Context], Mapping[str, object]]
Gauges = Callable[[Context], Awaitable[typing.Iterable[Gauge]]]


@dataclass(frozen=True)
class Spec:
    """What a function declared: the source of contract tests, EventTypes and documents."""

    name: str
    handler: Handler
    inputs: tuple[type[Event], ...]
    emits: tuple[type[Event], ...]
    schedules: tuple[str, ...]
    inbox: bool
    transactional: bool
    recorded: bool
    renders: Mapping[str, Render]
    routes: tuple[BaseRoute, ...]
    start: Start | None = None
    health: Health | None = None
    gauges: Gauges | None = None
    ad_hoc: bool = True
    public: tuple[str, ...] = ()
    proven: tuple[str, ...] = ()
    ignores: Ignores | None = None
    retention: Rules | None = None
    ordered: bool = True

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
        """The event whose data plain JSON is: the request, or else the only input."""
        return next((kind for kind in self.inputs if issubclass(kind, Request)), self.inputs[0])


async def handle(
    spec: Spec,
    ctx: Context,
    message: cloudevents.Message,
    event: Event,
    digest: str | None = None,
) -> Sequence[cloudevents.Message]:
    """Call the function, once for each event where it has an inbox; return its events.

    Those of an outbox are on their way to the sink when this returns; the caller sends others.
    `digest` is of what an ad-hoc request asked for under a key of its own.
    """
    identity = event.identity()
    key = inbox.Key(spec.name, message.source, message.id, requested_by=_requested_by(message))
    if identity is not None:
        first = (message.source, message.id)
        key = replace(key, source=_known_as(event, message), id=identity, event=first)
        digest = None  # no client's key: the event's content names it
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
        correlation.correlated(correlation.of_event(message)),
        ctx.resources.meter.working(),
    ):
        began = time.perf_counter()
        timeout_s, now = ctx.resources.process.timeout_seconds, time.monotonic()
        until, deadline = now + timeout_s * WORK, now + timeout_s * WAIT
        # With its digest, as steps that are kept outlive a request that failed.
        named = joined("#", key.source, key.id, *([] if digest is None else [digest]))
        ctx = ctx.within(named, key.event, until, deadline)
        meter = ctx.resources.meter
        call = _Call(spec, ctx, message, event, key, digest)
        try:
            done = await call.once() if spec.inbox else await call.again()
            meter.event(event, "repeated" if done.repeated else "ok", ctx.now())
            fields = {"sent": len(done.answer), "repeated": done.repeated}
            logger.info("handled", extra={"fields": fields})
            return typing.cast(list[cloudevents.Message], done.answer)
        except Cancelled as error:
            # Whoever sent it has taken it back: for the Broker it is handled.
            meter.event(event, "cancelled", ctx.now())
            logger.info("%s", error.detail)
            if spec.inbox:
                await call.failed((time.perf_counter() - began) * 1000, error)
            return []
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
                await call.failed(took_ms, error)
            raise


def _known_as(event: Event, message: cloudevents.Message) -> str:
    """The type that names a fact: of a tick it is the same whether the scheduler sent it or not."""
    return message.type if event.family else type(event).type


def _requested_by(message: cloudevents.Message) -> str | None:
    """The user who requested it: the console names its user."""
    named = message.extensions.get("requestedby")
    return shortened(named, 200) if named else None


@dataclass(frozen=True)
class _Call:
    """One call of a function."""

    spec: Spec
    ctx: Context
    message: cloudevents.Message
    event: Event
    key: inbox.Key
    digest: str | None

    @property
    def kind(self) -> str:
        """The type under which the run is recorded: what names the fact, where the event does."""
        return self.message.type if self.key.event is None else self.key.source

    async def once(self) -> inbox.Answered:
        """Once, however often the event comes; the events go to the outbox."""
        timeout_s = self.ctx.resources.process.timeout_seconds * WAIT
        durable, store = self.ctx.resources.durable, self.ctx.store
        kind = self.kind
        ctx = self.ctx
        events: list[cloudevents.Message] = []
        if self.spec.transactional:
            entries: list[Entry] = []

            async def within(tx: Connection) -> list[dict[str, typing.Any]]:
                events[:] = await self._events(replace(ctx, tx=tx))
                await cancellations.check(tx, self.key.event)
                entries[:] = await durable.put(
                    *(tx, self.spec.name, self._leaving(events)), ordered=self.spec.ordered
                )
                return [cloudevents.to_json(m) for m in events]

            done = await inbox.once(store, self.key, kind, timeout_s, within, self.digest)
            if not done.repeated:
                durable.deliver(entries)
        else:

            async def work() -> Outcome | Finish:
                result = await self._run(ctx)
                if not callable(result):
                    return outcome(result)

                async def finish(tx: Connection) -> Outcome:
                    return outcome(await result(tx))

                return finish

            def outcome(result: Result) -> Outcome:
                events[:] = self._sealed(result)
                answer = [cloudevents.to_json(m) for m in events]
                return Outcome(answer, self._leaving(events), ctx.writes)

            done = await durable.once(self.key, kind, timeout_s, work, self.digest)
        if done.repeated:
            recorded = [cloudevents.from_json(document) for document in done.answer]
            return inbox.Answered(recorded, repeated=True)
        for callback in ctx.committed:
            callback()
        return inbox.Answered(events, repeated=False)

    async def again(self) -> inbox.Answered:
        """A function without an inbox, which may be called as often as one likes."""

        async def work() -> list[cloudevents.Message]:
            if self.spec.recorded and self.key.event is not None:
                async with self.ctx.store.connection() as connection:
                    await cancellations.check(connection, self.key.event)
            try:
                return await self._events(self.ctx)
            except FunctionError as error:
                await self._publish_facts(error)
                raise

        if self.spec.recorded:
            events = await inbox.recorded(self.ctx.store, self.key, self.kind, work)
        else:
            events = await work()
        return inbox.Answered(events, repeated=False)

    async def failed(self, took_ms: float, error: Exception) -> None:
        """Record the failure; facts that are true all the same go to the outbox."""
        facts = error.events if isinstance(error, FunctionError) else ()
        events = self._leaving(self._sealed(facts))
        await self.ctx.resources.durable.fail(self.key, self.kind, took_ms, error, events)

    async def _publish_facts(self, error: FunctionError) -> None:
        if error.events:
            try:
                await self.ctx.publisher.publish(self._sealed(error.events))
            except FunctionError as unsent:
                error.add(f"its events were not sent: {unsent}")

    def _leaving(self, events: list[cloudevents.Message]) -> list[cloudevents.Message]:
        """The events that go to the outbox."""
        if events and not self.ctx.resources.process.k_sink:
            if self.message.source == AD_HOC:
                return []  # the function runs by itself: the answer shows its events
            raise TemporaryError("setting K_SINK is missing: events have nowhere to go")
        return events

    async def _run(self, ctx: Context) -> Result | Settling:
        due_by = self.event.due_by if isinstance(self.event, ScheduleDue) else None
        # What was sent again from the dead letters a user wants, however late.
        if due_by and ctx.now() > due_by and "redriveof" not in self.message.extensions:
            raise TooLate(f"it was due by {cloudevents.format_time(due_by)}")
        return await self.spec.handler(self.event, ctx)

    async def _events(self, ctx: Context) -> list[cloudevents.Message]:
        result = await self._run(ctx)
        if callable(result):
            raise TypeError(f"{self.spec.name}: only what is settled by itself can finish later")
        return self._sealed(result)

    def _sealed(self, result: Result) -> list[cloudevents.Message]:
        if result is None:
            return []
        messages = envelope.seal(
            result,
            cause=self.message,
            key=self.key,
            source=self.spec.source,
            emits=self.spec.emits,
            overrides=self.ctx.resources.process.overrides,
            at=self.ctx.now(),
        )
        return trace.created(messages)
