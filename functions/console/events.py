"""Events: the broker's stream, one event's chain of cause, and what every inbox tells.

The local broker tells its events, with each attempt to deliver them. A broker on a cluster tells
nothing: there event-recorder keeps the events, and has the functions' runs in place of attempts.
Both answer the same questions in the same shape, at EVENTS_URL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.routing import Route

from functions.console.ask import Ask, Row
from functions.console.chain import chain_graph
from functions.console.pages import Page
from functions.console.panels import NotHere, Panel, Query
from functions.kit.errors import FunctionError, NotFound, TemporaryError

# The functions that keep a record of what they handled.
RECORDS = ("sprint-report", "cycle-trigger", "scrum-simulate", "scrum-report", "job-launcher")
FILTERS = ("type", "subject", "trigger")
PAGE = 40
MOST_IN_CHAIN = 400

NO_RECORD = (
    "Nobody keeps the events here. The component event-recorder does, once EVENTS_URL names it; "
    "what each function handled, and what was given up, is told everywhere."
)


async def stream(ask: Ask, query: Query) -> Mapping[str, Any]:
    """The newest events with their deliveries, or those before a place in the stream."""
    wanted = {name: query[name] for name in FILTERS if query.get(name)}
    events = await _search(ask, **wanted, before=query.get("before"), limit=PAGE)
    older = urlencode({**wanted, "before": events[-1]["seq"]}) if len(events) == PAGE else ""
    for event in events:
        event["chain"] = correlation(event)
    return {"events": events, "older": older, "newest": "before" not in query} | {
        "wanted": urlencode(wanted),
        "ended": "before" in query,
    }


async def inboxes(ask: Ask, query: Query) -> Mapping[str, Any]:
    """What every function handled last, merged, newest first."""
    only = query.get("trigger", "")
    names = [name for name in RECORDS if only in name]

    async def of(name: str) -> list[Row] | str:
        try:
            runs = await ask.runs(name, limit=PAGE + 1, before=query.get("until"))
        except FunctionError as error:
            return error.detail
        return [{**run, "function": name} for run in runs]

    found = dict(zip(names, await asyncio.gather(*map(of, names)), strict=True))
    away = {name: runs for name, runs in found.items() if isinstance(runs, str)}
    if names and len(away) == len(names):
        raise TemporaryError(next(iter(away.values())))
    runs = [run for rows in found.values() if not isinstance(rows, str) for run in rows]
    runs.sort(key=lambda run: str(run["ended_at"]), reverse=True)
    wanted = {name: query[name] for name in FILTERS if query.get(name)}
    shown = runs[:PAGE]
    more = len(runs) > PAGE
    kind = query.get("type", "")
    return {
        "runs": [run for run in shown if kind in run["type"]],
        "away": away,
        "older": urlencode({**wanted, "until": shown[-1]["ended_at"]}) if more else "",
        "newer": urlencode(wanted) or "page=0" if query.get("until") else "",
    }


async def chain(ask: Ask, query: Query) -> Mapping[str, Any]:
    """All events that one event caused, as a graph and as a table."""
    id = query.get("correlation", "")
    events = await _search(ask, correlation=id, limit=MOST_IN_CHAIN)
    if not events:
        raise NotFound(f"There is no record of an event {id}.")
    events.sort(key=lambda event: (event["arrived"], event["seq"]))
    return {
        "events": events,
        "graph": chain_graph(events),
        "began": events[0]["arrived"],
        "full": len(events) == MOST_IN_CHAIN,
    }


def correlation(event: Row) -> str:
    """What all events of its chain carry."""
    attributes = event["attributes"]
    return str(attributes.get("correlationid") or attributes["id"])


async def _search(ask: Ask, **query: object) -> list[Row]:
    if not ask.settings.events_url:
        raise NotHere(NO_RECORD)
    return await ask.events(ask.settings.events_url, **query)


def routes() -> list[Route]:
    return [
        *Page(
            "/events",
            "Events",
            [
                Panel("stream", "What the broker took", stream, live_s=3),
                Panel("inboxes", "What the functions handled", inboxes),
            ],
            head="heads/events.html",
        ).routes(),
        *Page(
            "/events/chain",
            "Chain of cause",
            [Panel("chain", "From the first event to the last", chain)],
            parent=("/events", "Events"),
        ).routes(),
    ]
