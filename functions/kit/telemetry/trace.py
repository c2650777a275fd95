"""Traces: off unless OTEL_EXPORTER_OTLP_ENDPOINT is set, and only then is OpenTelemetry imported.

The kit calls these at its seams. While tracing is off each is one look at a name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field

from functions.kit.settings import ProcessSettings, Settings

if TYPE_CHECKING:
    import httpx

    from functions.kit.cloudevents import Message
    from functions.kit.telemetry.spans import Spans

# Of the trace, what an event passes to the events that it causes.
CONTEXT = ("traceparent", "tracestate")


class TraceSettings(Settings):
    """What decides about traces; OpenTelemetry's SDK reads its other OTEL_* variables itself."""

    otel_exporter_otlp_endpoint: str = Field(
        "",
        pattern="^$|^https?://",
        description="base URL of an OTLP/HTTP collector; traces are off while it is not set",
    )
    otel_exporter_otlp_protocol: str = Field(
        "http/protobuf",
        pattern="^http/protobuf$",
        description="how traces are sent; http/protobuf is the one that there is",
    )
    otel_sdk_disabled: str = Field(
        "false", description="true keeps traces off whatever else is set"
    )
    k_revision: str = Field("", description="revision of the Knative Service; set by Knative")

    @property
    def on(self) -> bool:
        return bool(self.otel_exporter_otlp_endpoint) and self.otel_sdk_disabled.lower() != "true"


_spans: Spans | None = None


def start(settings: TraceSettings, process: ProcessSettings) -> None:
    """Trace this process from now on, where the settings say so."""
    global _spans
    if settings.on:
        from functions.kit.telemetry.spans import Spans

        name = process.k_service or process.function_target.replace("_", "-")
        _spans = Spans(name, settings.k_revision)


C = TypeVar("C", bound="httpx.AsyncClient")


def is_on() -> bool:
    """Is this process traced?"""
    return _spans is not None


def served(app: Any) -> Any:
    """An ASGI application with a span for each request."""
    return app if _spans is None else _spans.served(app)


def client_class(plain: type[C]) -> type[C]:
    """The HTTP client's class: one with a span for each request where there are spans."""
    return plain if _spans is None else _spans.client_class(plain)


class Call:
    """A call by a client that is not httpx: the headers to carry, and a place for its answer."""

    headers: Mapping[str, str] = MappingProxyType({})

    def answered(self, status: int) -> None:
        """The status that was answered."""


def calling(method: str, url: str) -> AbstractContextManager[Call]:
    """The time that a call takes to its answer's first byte."""
    if _spans is None:
        return nullcontext(_UNTRACED)
    import httpx

    return _spans.calling(method, httpx.URL(url))


_UNTRACED = Call()


def processing(message: Message) -> AbstractContextManager[object]:
    """The time in which a function works on an event."""
    return nullcontext() if _spans is None else _spans.processing(message)


def created(messages: list[Message]) -> list[Message]:
    """Events that a function has made, each carrying the place in the trace where that was."""
    return messages if _spans is None else _spans.created(messages)


def transaction() -> AbstractContextManager[object]:
    """The time from a transaction's begin to its end."""
    return nullcontext() if _spans is None else _spans.transaction()


def watch(connection: Any) -> None:
    """A span for each statement of an asyncpg connection from now on."""
    if _spans is not None:
        connection.add_query_logger(_spans.statement)


def carried(given: Mapping[str, str]) -> dict[str, str]:
    """What an event made now carries of the trace; without spans, what its cause was given."""
    if _spans is not None:
        return _spans.carried()
    return {name: given[name] for name in CONTEXT if name in given}


def id_of(extensions: Mapping[str, str]) -> str:
    """The trace's id in an event's `traceparent`; empty where there is none.

    >>> id_of({"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
    '0af7651916cd43dd8448eb211c80319c'
    """
    parts: Sequence[str] = extensions.get("traceparent", "").split("-")
    return parts[1] if len(parts) > 3 else ""
