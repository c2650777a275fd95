"""The pages of Events: the stream with its rate, and one trace."""

from __future__ import annotations

from starlette.routing import Route

from functions.console.event_rate import is_asked, rate
from functions.console.events import inboxes, stream, trace
from functions.console.pages import Page, moved
from functions.console.panels import Panel


def routes() -> list[Route]:
    return [
        *Page(
            "/events",
            "Events",
            [
                Panel("rate", "Events over time", rate, live_s=30, shows=is_asked),
                Panel("stream", "What the broker took", stream, live_s=3),
                Panel("inboxes", "What the functions handled", inboxes, live_s=12),
            ],
            head="heads/events.html",
        ).routes(),
        *Page(
            "/events/trace",
            "Trace",
            [Panel("trace", "From the first event to the last", trace, live_s=5)],
            parent=("/events", "Events"),
        ).routes(),
        moved("/events/chain", "/events/trace"),
    ]
