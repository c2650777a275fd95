"""Events: the broker's stream, one event's trace, and the runs of every function.

The local broker reports its events, with each attempt to deliver them. One on a cluster reports
nothing: there event-recorder keeps the events, and has the functions' runs in place of attempts.
Both answer the same questions in the same shape, at EVENTS_URL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from functions.console.ask import Ask, Row
from functions.console.formatting import instant
from functions.console.panels import NotHere, Query
from functions.console.plots.trace_graph import trace_graph
from functions.console.plots.waterfall import attempts_of, to_sink, waterfall
from functions.console.runs import OPTIONAL, RECORDED
from functions.events.schedule import ScheduleDue
from functions.kit.errors import FunctionError, NotFound, PermanentError, TemporaryError

# Those that handle what others send; of any other that keeps a record, where its name is given.
RECORDS = ("sprint-report", "cycle-trigger", "scrum-simulate", "scrum-report", "job-launcher")
# Name, what it covers, and how many parts its plot has.
RANGES = {
    "1h": (timedelta(hours=1), 12),
    "6h": (timedelta(hours=6), 12),
    "24h": (timedelta(hours=24), 24),
    "7d": (timedelta(days=7), 14),
}
# Those that the record of events knows, and those that are applied here to what it returns.
FILTERS = ("type", "subject", "trigger")
LOCAL_FILTERS = ("source", "state", "from", "to", "ticks", "range")
TICK = ScheduleDue.type
PAGE = 40
# What is read at once, and how often, to fill a page of which most does not fit the filters.
BATCH, MAX_BATCHES = 80, 5
MAX_IN_TRACE = 400
QUIET_S = 60  # a trace to which nothing came for so long, and in which nothing waits, has ended
DATA = ("data", "data_base64")

NO_RECORD = (
    "No component keeps the events here: event-recorder does, once EVENTS_URL names it; "
    "what each function handled, and what was given up, is shown on the other pages."
)


async def stream(ask: Ask, query: Query) -> Mapping[str, Any]:
    """The newest events with their deliveries, or those before a place in the stream."""
    wanted = {name: query[name] for name in FILTERS if query.get(name)}
    wanted_here = {name: query[name] for name in LOCAL_FILTERS if query.get(name)}
    events, last = await _page(ask, query, wanted, fits(query))
    wanted |= wanted_here
    older = urlencode({**wanted, "before": last}) if last is not None else ""
    for event in events:
        event["correlation"] = correlation(event)
        for delivery in event["deliveries"]:
            delivery["times"] = len(attempts_of(delivery))
    return {"events": events, "older": older, "newest": "before" not in query} | {
        "wanted": urlencode(wanted),
        "ended": "before" in query,
    }


async def newest(ask: Ask, count: int) -> list[Row]:
    """The newest events but schedule ticks, of which it passes over a thousand at most."""
    return (await _page(ask, {}, {}, fits({}), count, (1000 + count) // BATCH))[0]


async def _page(
    ask: Ask,
    query: Query,
    wanted: Row,
    keeps: Callable[[Row], bool],
    count: int = PAGE,
    batches: int = MAX_BATCHES,
) -> tuple[list[Row], int | None]:
    """One page of the events that fit, and the place before which others are; None at the end."""
    since = instant(query["from"]) if query.get("from") else None
    found: list[Row] = []
    before: object = query.get("before")
    for _ in range(batches):
        batch = await search(ask, **wanted, cursor=before, limit=BATCH)
        for event in batch:
            before = event["seq"]
            if keeps(event):
                found.append(event)
            if len(found) == count:
                return found, event["seq"]
        if len(batch) < BATCH or (since and batch[-1]["arrived"] < since.timestamp()):
            return found, None
    return found, int(str(before))


def fits(query: Query) -> Callable[[Row], bool]:
    """Whether an event is shown: by source, state and time; schedule ticks only where asked for.

    >>> shown = fits({"state": "no subscriber"})
    >>> shown({"attributes": {"type": "t", "source": "/s"}, "arrived": 0, "deliveries": []})
    True
    >>> shown({"attributes": {"type": TICK, "source": "/s"}, "arrived": 0, "deliveries": []})
    False
    """
    times = {name: instant(query[name]) for name in ("from", "to") if query.get(name)}
    if bad := [name for name, at in times.items() if at is None]:
        raise PermanentError(f"{bad[0]} is no time such as 2026-03-02T14:00")
    limits = {name: at.timestamp() for name, at in times.items() if at is not None}
    kind = query.get("type", "")
    with_ticks = bool(query.get("ticks")) or bool(kind and kind in TICK)

    def keeps(event: Row) -> bool:
        attributes, deliveries = event["attributes"], event["deliveries"]
        if attributes["type"] == TICK and not with_ticks:
            return False
        if query.get("source", "") not in attributes["source"]:
            return False
        if state := query.get("state"):
            states = {delivery["state"] for delivery in deliveries} or {"no subscriber"}
            if state not in states:
                return False
        at = event["arrived"]
        return bool(limits.get("from", at) <= at <= limits.get("to", at))

    return keeps


async def inboxes(ask: Ask, query: Query) -> Mapping[str, Any]:
    """What every function handled last, or in the range, merged, newest first; with `outcome` only
    the runs that ended so."""
    only = query.get("trigger", "")
    names = [only] if only in (*RECORDED, *OPTIONAL) else list(RECORDS)
    if only and only not in names:
        names = [name for name in RECORDED if only in name]
    if unknown := [name for name in ("subject", "source", "state") if query.get(name)]:
        return {"runs": [], "unknown": unknown, "away": {}, "older": "", "newer": ""}
    range_ = RANGES.get(query.get("range", ""))
    wanted_of_runs = {
        "outcome": query.get("outcome"),
        "since": (ask.ctx.now() - range_[0]).isoformat() if range_ else None,
    }

    async def of(name: str) -> list[Row] | str:
        try:
            runs = await ask.runs(name, limit=PAGE + 1, before=query.get("until"), **wanted_of_runs)
        except FunctionError as error:
            return error.detail
        return [{**run, "function": name} for run in runs]

    found = dict(zip(names, await asyncio.gather(*map(of, names)), strict=True))
    away = {name: runs for name, runs in found.items() if isinstance(runs, str)}
    if names and len(away) == len(names):
        raise TemporaryError(next(iter(away.values())))
    runs = [run for rows in found.values() if not isinstance(rows, str) for run in rows]
    runs.sort(key=lambda run: str(run["ended_at"]), reverse=True)
    filters = (*FILTERS, "range", "ticks", "outcome")
    wanted = {name: query[name] for name in filters if query.get(name)}
    shown = runs[:PAGE]
    more = len(runs) > PAGE
    kind = query.get("type", "")
    return {
        "runs": [run for run in shown if kind in run["type"]],
        "without_record": only if only and not names else "",
        "away": away,
        "older": urlencode({**wanted, "until": shown[-1]["ended_at"]}) if more else "",
        "newer": urlencode(wanted) or "page=0" if query.get("until") else "",
    }


async def trace(ask: Ask, query: Query) -> Mapping[str, Any]:
    """All events of the trace that an event is in, as a graph and as a table."""
    id = query.get("correlation", "")
    events = await search(ask, correlation=id, limit=MAX_IN_TRACE)
    if not events:
        raise NotFound(f"There is no record of an event {id}.")
    first = next((correlation(one) for one in events if one["attributes"]["id"] == id), id)
    if first != id:  # from the first of the trace on, not from the event that was chosen
        id, events = first, await search(ask, correlation=first, limit=MAX_IN_TRACE)
    events.sort(key=lambda event: (event["arrived"], event["seq"]))
    states = {delivery["state"] for event in events for delivery in event["deliveries"]}
    quiet_s = ask.ctx.now().timestamp() - events[-1]["arrived"]
    for event in events:
        event["shown"] = event["attributes"] | {k: event[k] for k in DATA if k in event}
    return {
        "correlation": id,
        "trace_id": _trace_id(events),
        "events": events,
        "graph": trace_graph(events),
        "took_ms": waterfall(events),
        "attempts": sum(len(attempts_of(d)) for event in events for d in event["deliveries"]),
        "to_sink": to_sink,
        "began": events[0]["arrived"],
        "full": len(events) == MAX_IN_TRACE,
        "ended": "pending" not in states and quiet_s > QUIET_S,
    }


def _trace_id(events: list[Row]) -> str:
    """The trace id of W3C trace context that the events carry; empty where they carry none.

    >>> _trace_id([{"attributes": {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}}])[:4]
    'abab'
    """
    for event in events:
        parts = str(event["attributes"].get("traceparent", "")).split("-")
        if len(parts) >= 4:
            return parts[1]
    return ""


def correlation(event: Row) -> str:
    """The id that all events of its trace carry."""
    attributes = event["attributes"]
    return str(attributes.get("correlationid") or attributes["id"])


async def search(ask: Ask, **query: object) -> list[Row]:
    """The events that fit, newest first; `NotHere` where no component keeps them."""
    if not ask.settings.events_url:
        raise NotHere(NO_RECORD)
    return await ask.events(ask.settings.events_url, **query)
