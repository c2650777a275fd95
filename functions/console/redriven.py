"""What came of dead letters that were sent again: one row for each, until all have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from starlette.routing import Route

from functions.console.ask import Ask, Row
from functions.console.dead_letters import cause, event_name, read_dead_letter, trace_of
from functions.console.events import search
from functions.console.formatting import instant
from functions.console.pages import CHANGED, Page
from functions.console.panels import NotHere, Panel, Query, show_one
from functions.console.plots.waterfall import attempts_of, times
from functions.console.rendering import View, drawing
from functions.kit.errors import FunctionError, NotFound

PATH = "/dead-letters/sent"
MAX_NUMBERS = 200
MAX_IN_TRACE = 100
SENDING = "redriving"  # what an action answers of one that it sent
ON_ITS_WAY, UNKNOWN = "on its way", "sent"


async def listed(ask: Ask, query: Query) -> Mapping[str, Any]:
    """The outcome of each dead letter that the address numbers, with its reason and its trace."""
    numbers = query.get("numbers", "").split(",")[:MAX_NUMBERS]
    rows = await asyncio.gather(*(_row(ask, number) for number in numbers))
    outcomes = [row["outcome"] for row in rows]
    return {
        "rows": rows,
        "counts": {name: outcomes.count(name) for name in sorted(set(outcomes))},
        "ended": not {ON_ITS_WAY, UNKNOWN} & set(outcomes),
    }


async def _row(ask: Ask, number: str) -> Row:
    try:
        found = await read_dead_letter(ask, number)
    except NotFound as error:
        return {"number": number, "outcome": "not found", "detail": error.detail}
    outcome, detail = await _outcome(ask, found)
    row = {"number": number, "name": event_name(found), "trace": trace_of(found["event"])}
    return row | {"outcome": outcome, "detail": detail}


async def _outcome(ask: Ask, found: Row) -> tuple[str, str]:
    """What came of the last time that it was sent, and why."""
    last = found["redrives"][-1] if found["redrives"] else None
    if last is None or found["state"] == "dismissed":
        return found["state"], ""
    if last["outcome"] == "failed":
        return "failed again", last["detail"]
    if found["state"] == "open":
        return "failed again", cause(found)
    if found["state"] == "redriving":
        return ON_ITS_WAY, "it is about to be sent to the broker"
    try:
        made = await _deliveries(ask, found, last)
    except (FunctionError, NotHere):
        made = None
    if not made:
        return UNKNOWN, "the broker took it; it has not come back since"
    return outcome_of(made)


def outcome_of(deliveries: Sequence[Row]) -> tuple[str, str]:
    """What became of an event's deliveries together.

    >>> outcome_of([{"trigger": "dsm/a", "state": "delivered"}])
    ('delivered', '')
    >>> attempt = {"status": 503, "reason": "503"}
    >>> outcome_of([{"trigger": "dsm/a", "state": "pending", "attempts": [attempt]}])
    ('on its way', 'a: 503')
    """
    for states, outcome in (
        (("failed", "dead-lettered", "dead-lettering"), "failed again"),
        (("pending",), ON_ITS_WAY),
    ):
        those = [one for one in deliveries if one["state"] in states]
        if those:
            return outcome, "; ".join(filter(None, map(_reason, those)))
    return "delivered", ""


def _reason(delivery: Row) -> str:
    attempts = attempts_of(delivery) or [{}]
    why = delivery.get("reason") or attempts[-1].get("reason") or attempts[-1].get("detail")
    return f"{delivery['trigger'].rpartition('/')[2]}: {why}" if why else ""


async def _deliveries(ask: Ask, found: Row, last: Row) -> list[Row]:
    """The deliveries of the event that was sent again.

    The local broker has it as an event of its own. A recorder has one event, whose runs since then
    are those of the sending: it does not know whether the broker tries one that failed again, and
    where it does not the dead letter comes back.
    """
    trace, number = trace_of(found["event"]), str(found["number"])
    events = await search(ask, correlation=trace, type=found["type"], limit=MAX_IN_TRACE)
    for event in events:  # newest first
        if event["attributes"].get("redriveof") == number:
            return list(event["deliveries"])
    since = instant(last["began_at"])
    return [
        {**delivery, "state": "pending"} if delivery["state"] == "failed" else delivery
        for event in events
        if since and event["attributes"]["id"] == found["id"]
        for delivery in event["deliveries"]
        if delivery["attempts"] and times(delivery["attempts"][-1])[1] >= since.timestamp()
    ]


PANEL = Panel("redriven", "What came of each", listed, live_s=2)


async def followed(view: View, numbers: Sequence[object]) -> Row:
    """The panel for these dead letters, for the page that answers an action; none without any."""
    if not numbers:
        return {}
    query = {"numbers": ",".join(map(str, numbers))}
    shown = await show_one(PANEL, view.ask, query, PATH, drawing(view))
    return {"shown": shown, "changed": f"{PATH}{CHANGED}?{urlencode(query)}"}


def routes() -> list[Route]:
    return Page(PATH, "Sent again", [PANEL], parent=("/dead-letters", "Dead letters")).routes()
