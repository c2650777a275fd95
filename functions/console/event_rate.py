"""How many events came over time, by what became of them, in a range that the address names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from functions.console.ask import Ask, Row
from functions.console.events import FILTERS, RANGES, fits, search
from functions.console.formatting import instant
from functions.console.panels import Query
from functions.console.plots.plot import line_plot

OUTCOMES = ("handled", "pending", "no subscriber", "failed")
BATCH, MAX_BATCHES = 500, 4


def is_asked(ask: Ask, query: Query) -> bool:
    """It reads each event of its range, so only who asks for it waits for it."""
    return query.get("range") in RANGES


async def rate(ask: Ask, query: Query) -> Mapping[str, Any]:
    """The events of the range that fit the page's filters, counted in parts of equal length."""
    span, parts = RANGES[query["range"]]
    since = ask.ctx.now() - span
    keeps = fits({name: text for name, text in query.items() if name not in ("from", "to")})
    wanted = {name: query[name] for name in FILTERS if query.get(name)}
    events: list[Row] = []
    before = None
    for _ in range(MAX_BATCHES):
        batch = await search(ask, **wanted, cursor=before, limit=BATCH)
        events += [event for event in batch if keeps(event)]
        is_all = len(batch) < BATCH or batch[-1]["arrived"] < since.timestamp()
        if is_all:
            break
        before = batch[-1]["seq"]
    rows = counted(events, since, span / parts, parts)
    title = f"Events per {_length(span / parts)} by outcome"
    form = "%H:%M" if span <= timedelta(days=1) else "%a %H:%M"
    plot = line_plot(
        [f"{instant(row['at']):{form}}" for row in rows],
        {name: [row[name] for row in rows] for name in OUTCOMES},
        title,
        y_title="events",
        bars=True,
    )
    return {"rows": rows, "plot": plot, "title": title, "cut": not is_all, "outcomes": OUTCOMES}


def counted(events: Sequence[Row], since: datetime, length: timedelta, parts: int) -> list[Row]:
    """Counts by outcome of each part of the time since an instant.

    >>> since = datetime.fromisoformat("2026-03-02T12:00+00:00")
    >>> event = {"arrived": since.timestamp() + 61, "deliveries": [{"state": "failed"}]}
    >>> [row["failed"] for row in counted([event], since, timedelta(minutes=1), 3)]
    [0, 1, 0]
    """
    rows: list[Row] = [
        {"at": (since + number * length).isoformat(), **dict.fromkeys(OUTCOMES, 0)}
        for number in range(parts)
    ]
    for event in events:
        number = int((event["arrived"] - since.timestamp()) / length.total_seconds())
        if event["arrived"] >= since.timestamp():
            rows[min(number, parts - 1)][outcome(event)] += 1
    return rows


def outcome(event: Row) -> str:
    """The worst of what became of an event's deliveries.

    >>> outcome({"deliveries": [{"state": "handled"}, {"state": "dead-lettered"}]})
    'failed'
    >>> outcome({"deliveries": []})
    'no subscriber'
    """
    states = {delivery["state"] for delivery in event["deliveries"]}
    if states & {"failed", "dead-lettered"}:
        return "failed"
    if "pending" in states:
        return "pending"
    return "handled" if states else "no subscriber"


def _length(part: timedelta) -> str:
    """The length of a part.

    >>> _length(timedelta(minutes=5)), _length(timedelta(hours=1))
    ('5 min', '1 h')
    """
    minutes = int(part.total_seconds() // 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h"
