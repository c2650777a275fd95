"""Spans of requests, events, calls and statements: the only import of OpenTelemetry.

One trace holds all that a tick, or a user's request, causes. An event's `traceparent` extension
is where it was made, so it is the parent of the work on it; a `traceparent` header is how it
came, and becomes a link. An event without either starts the trace that its source and id name:
every function that gets it, however often it is delivered, is in the same one.

Names follow OpenTelemetry's conventions for CloudEvents, messaging, HTTP, databases and FaaS.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from functions.kit import cloudevents
from functions.kit.telemetry import conventions, log
from functions.kit.telemetry.trace import Call

if TYPE_CHECKING:
    from asyncpg.connection import LoggedQuery

UNTRACED = ("/health", "/health/live", "/health/ready", "/metrics")  # asked often, and of no event

C = TypeVar("C", bound=httpx.AsyncClient)
NOTHING: Mapping[str, str] = MappingProxyType({})
POOLS_OWN = "SELECT pg_advisory_unlock_all()"  # the pool tidies a connection that comes back

FLUSH_TIMEOUT_S = 2.0  # for the last spans: a collector that is away must not hold up the drain

_W3C = TraceContextTextMapPropagator()
_named_by: ContextVar[str] = ContextVar("named_by", default="")


class TraceIds(RandomIdGenerator):
    """Random, but derived where an event without a trace names the one that it starts."""

    def generate_trace_id(self) -> int:
        name = _named_by.get()
        if not name:
            return super().generate_trace_id()
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big")


class Calling(Call):
    """A call that is being made: the headers that it carries, and a place for its answer."""

    def __init__(self, span: Span, headers: Mapping[str, str]) -> None:
        self._span = span
        self.headers = headers

    def answered(self, status: int) -> None:
        self._span.set_attribute("http.response.status_code", status)
        if status >= 400:
            self._span.set_attribute("error.type", str(status))
            self._span.set_status(StatusCode.ERROR)


class Spans:
    """The spans of one process, sent in batches in the background and when it ends."""

    def __init__(self, name: str, version: str) -> None:
        known = {"service.name": name, "faas.name": name}
        if version:
            known |= {"service.version": version, "faas.version": version}
        resource = Resource.create(known).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, id_generator=TraceIds())
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("functions.kit")
        self._cold = True

    def served(self, app: Any) -> Any:
        """Requests: `GET /dead-letters/{number}`, SERVER."""

        async def traced(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                await app(scope, receive, self._flushing(send))
            elif scope["path"] in UNTRACED:
                await app(scope, receive, send)
            else:
                await self._request(app, scope, receive, send)

        return traced

    def _flushing(self, send: Any) -> Any:
        async def flush_first(message: Any) -> None:
            if message["type"] == "lifespan.shutdown.complete":
                await self._flush()
            await send(message)

        return flush_first

    async def _flush(self) -> None:
        """Send what is left, for so long and no longer."""
        loop, sent = asyncio.get_running_loop(), asyncio.Event()

        def send() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # the loop did not wait for us
                loop.call_soon_threadsafe(sent.set)

        # A thread of our own: the interpreter waits at its end for those that asyncio lends.
        threading.Thread(target=send, daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_TIMEOUT_S):
                await sent.wait()

    async def _request(self, app: Any, scope: Any, receive: Any, send: Any) -> None:
        headers = {n.decode("latin-1"): v.decode("latin-1") for n, v in scope["headers"]}
        event = {n[3:]: v for n, v in headers.items() if n.startswith("ce-")}
        attributes = conventions.of_request(scope, headers) | conventions.of_event(event)
        attributes |= {"faas.coldstart": self._cold, "faas.trigger": conventions.trigger(event)}
        self._cold = False
        made, came = _read(event), _read(headers)
        links = [Link(came)] if made and came and made.span_id != came.span_id else []
        naming = _named_by.set("" if made or came else "#".join(_identity(event)))
        try:
            span = self._tracer.start_span(
                scope["method"],
                context=_under(made or came),
                kind=SpanKind.SERVER,
                attributes=attributes,
                links=links,
            )
        finally:
            _named_by.reset(naming)

        async def watched(message: Any) -> None:
            if message["type"] == "http.response.start":
                status: int = message["status"]
                span.set_attribute("http.response.status_code", status)
                if status >= 500:
                    span.set_attribute("error.type", str(status))
                    span.set_status(StatusCode.ERROR)
            await send(message)

        with self._current(span):
            await app(scope, receive, watched)
            route = scope["path"] if scope["path"] == "/" else conventions.route(scope)
            if route:
                span.set_attribute("http.route", route)
                span.update_name(f"{scope['method']} {route}")

    @contextmanager
    def processing(self, message: cloudevents.Message) -> Iterator[None]:
        """Work on an event: `process io.dsm.sprint.completed.v1`, CONSUMER."""
        made, now = _read(message.extensions), trace.get_current_span().get_span_context()
        elsewhere = made is not None and made.trace_id != now.trace_id
        event = {name: getattr(message, name) or "" for name in ("id", "source", "type", "subject")}
        span = self._tracer.start_span(
            f"process {message.type}",
            context=_under(made) if elsewhere else None,
            kind=SpanKind.CONSUMER,
            attributes=conventions.of_event(event) | conventions.messaging("process", message.type),
            links=[Link(now)] if elsewhere and now.is_valid else [],
        )
        with self._current(span):
            yield

    def created(self, messages: list[cloudevents.Message]) -> list[cloudevents.Message]:
        """Each event's making: `create io.dsm.sprint.completed.v1`, PRODUCER."""
        return [self._created(message) for message in messages]

    def carried(self) -> dict[str, str]:
        """The current place in the trace, for an event that is made without `created`."""
        found: dict[str, str] = {}
        _W3C.inject(found)
        return found

    def _created(self, message: cloudevents.Message) -> cloudevents.Message:
        event = {name: getattr(message, name) or "" for name in ("id", "source", "type", "subject")}
        span = self._tracer.start_span(
            f"create {message.type}",
            context=_under(_parent_of(message.extensions)),
            kind=SpanKind.PRODUCER,
            attributes=conventions.of_event(event) | conventions.messaging("create", message.type),
        )
        span.end()
        carried: dict[str, str] = {}
        _W3C.inject(carried, context=trace.set_span_in_context(span))
        return dataclasses.replace(message, extensions={**message.extensions, **carried})

    def client_class(self, plain: type[C]) -> type[C]:
        """HTTP calls: `POST`, CLIENT, with the `traceparent` header."""
        spans = self

        class TracedClient(plain):  # type: ignore[misc,valid-type]
            async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
                event = {n[3:]: v for n, v in request.headers.items() if n.startswith("ce-")}
                with spans.calling(request.method, request.url, event) as call:
                    request.headers.update(call.headers)
                    response: httpx.Response = await super().send(request, **options)
                    call.answered(response.status_code)
                    return response

        return TracedClient

    @contextmanager
    def calling(
        self, method: str, url: httpx.URL, event: Mapping[str, str] = NOTHING
    ) -> Iterator[Calling]:
        """A call of whatever client: `POST`, CLIENT; `event` are the attributes of its event."""
        span = self._tracer.start_span(
            method,
            context=_under(_parent_of(event)),
            kind=SpanKind.CLIENT,
            attributes=conventions.of_call(method, url) | conventions.of_event(event),
        )
        headers: dict[str, str] = {}
        _W3C.inject(headers, context=trace.set_span_in_context(span))
        with self._current(span):
            yield Calling(span, headers)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction: `transaction`, CLIENT; its statements are below it."""
        if _living() is None:
            yield
            return
        attributes = {"db.system.name": "postgresql", "db.operation.name": "transaction"}
        span = self._tracer.start_span("transaction", kind=SpanKind.CLIENT, attributes=attributes)
        with self._current(span):
            yield

    def statement(self, query: LoggedQuery) -> None:
        """A statement that has ended: `INSERT inbox`, CLIENT. Values are no part of it."""
        ended_ns = time.time_ns()
        began_ns = ended_ns - int(query.elapsed * 1e9)
        if _living(at_ns=began_ns) is None or query.query.startswith(POOLS_OWN):
            return
        span = self._tracer.start_span(
            conventions.summary(query.query),
            kind=SpanKind.CLIENT,
            attributes=conventions.of_statement(query),
            start_time=began_ns,
        )
        if query.exception is not None:
            code = getattr(query.exception, "sqlstate", None)
            span.set_attribute("error.type", code or type(query.exception).__name__)
            if code:
                span.set_attribute("db.response.status_code", code)
            span.set_status(StatusCode.ERROR)
        span.end(ended_ns)

    @contextmanager
    def _current(self, span: Span) -> Iterator[None]:
        """Make it the current span, and its trace that of each line logged; end it."""
        trace_id = trace.format_trace_id(span.get_span_context().trace_id)
        with trace.use_span(span, end_on_exit=True), log.handling(trace_id=trace_id):
            try:
                yield
            except Exception as error:
                span.set_attribute("error.type", type(error).__qualname__)
                raise


def _living(at_ns: int | None = None) -> SpanContext | None:
    """The current span, unless it had ended: a task in the background outlives who woke it."""
    span = trace.get_current_span()
    ended_ns = span.end_time if isinstance(span, ReadableSpan) else None
    if ended_ns is not None and (at_ns is None or ended_ns <= at_ns):
        return None
    found = span.get_span_context()
    return found if found.is_valid else None


def _parent_of(event: Mapping[str, str]) -> SpanContext | None:
    """Where work for an event belongs: here, unless here is another trace than the event's."""
    now, made = _living(), _read(event)
    return made if made and (now is None or made.trace_id != now.trace_id) else now


def _under(parent: SpanContext | None) -> Context:
    """A context in which a new span is the child of `parent`, or the first of its trace."""
    if parent is None:
        return Context()
    return trace.set_span_in_context(trace.NonRecordingSpan(parent), Context())


def _read(carrier: Mapping[str, str]) -> SpanContext | None:
    """The place in a trace that headers, or an event's attributes, name."""
    if "traceparent" not in carrier:
        return None
    found = trace.get_current_span(_W3C.extract(dict(carrier), Context())).get_span_context()
    return found if found.is_valid else None


def _identity(event: Mapping[str, str]) -> tuple[str, ...]:
    return (event["source"], event["id"]) if "source" in event and "id" in event else ()
