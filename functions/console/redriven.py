"""What came of dead letters that were acted on: one row for each, until all have ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import Route

from functions.console.ask import Ask, Row
from functions.console.dead_letters import FUNCTION, cause, event_name, is_number
from functions.console.events import search
from functions.console.formatting import count, instant
from functions.console.pages import Page
from functions.console.panels import NotHere, Panel, Query
from functions.console.plots.waterfall import attempts_of, times
from functions.console.rendering import View, done
from functions.kit.clients import each
from functions.kit.errors import FunctionError

PATH = "/dead-letters/results"
MAX_NUMBERS = 200
MAX_IN_TRACE = 100
AT_ONCE = 8  # searches for deliveries, of which each has its own
LIVE_S = 4
FOLLOWED = timedelta(minutes=15)  # above the time for which a broker tries again
SENDING, DISMISSED = "redriving", "dismissed"  # what an action answers of one that it did
_VERBS = {SENDING: "sent again", DISMISSED: "dismissed"}
ON_ITS_WAY, UNKNOWN = "on its way", "sent"


async def listed(ask: Ask, query: Query) -> Mapping[str, Any]:
    """The outcome of each dead letter that the address numbers, with its reason and its trace."""
    numbers = query.get("numbers", "").split(",")[:MAX_NUMBERS]
    known = ",".join(filter(is_number, numbers))
    answer = await ask.function(FUNCTION).read("/redrives", numbers=known)
    found = {str(one["number"]): one for one in answer["dead_letters"]}
    rows = await each(numbers, lambda number: _row(ask, number, found.get(number)), AT_ONCE)
    outcomes = [row["outcome"] for row in rows]
    return {
        "rows": rows,
        "counts": {name: outcomes.count(name) for name in sorted(set(outcomes))},
        "ended": not any(row.get("is_open") for row in rows),
    }


async def _row(ask: Ask, number: str, found: Row | None) -> Row:
    if found is None:
        detail = f"There is no dead letter {number}."
        return {"number": number, "outcome": "not found", "detail": detail}
    outcome, detail = await _outcome(ask, found)
    is_open = outcome == ON_ITS_WAY or (outcome == UNKNOWN and not _is_late(ask, found))
    row = {"number": number, "name": event_name(found), "trace": found["trace"]}
    return row | {"outcome": outcome, "detail": detail, "is_open": is_open}


def _is_late(ask: Ask, found: Row) -> bool:
    """Was it sent so long ago that the page waits for no more word of it?"""
    began = instant(found["redrive"]["began_at"])
    return began is None or ask.ctx.now() - began > FOLLOWED


async def _outcome(ask: Ask, found: Row) -> tuple[str, str]:
    """What came of the last time that it was sent, and why."""
    last = found["redrive"]
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
    if made is None:
        return UNKNOWN, "the broker took it; it has not come back since"
    return outcome_of(made)


def outcome_of(deliveries: Sequence[Row]) -> tuple[str, str]:
    """What became of an event's deliveries together.

    >>> outcome_of([{"trigger": "dsm/a", "state": "delivered"}])
    ('delivered', '')
    >>> attempt = {"status": 503, "reason": "503"}
    >>> outcome_of([{"trigger": "dsm/a", "state": "pending", "attempts": [attempt]}])
    ('on its way', 'an attempt failed: a: 503')
    >>> outcome_of([])
    ('no subscriber', 'no Trigger of the broker takes it')
    """
    if not deliveries:
        return "no subscriber", "no Trigger of the broker takes it"
    for states, outcome in (
        (("failed", "dead-lettered", "dead-lettering"), "failed again"),
        (("pending",), ON_ITS_WAY),
    ):
        those = [one for one in deliveries if one["state"] in states]
        if those:
            why = "; ".join(filter(None, map(_reason, those)))
            tried = "an attempt failed: " if why and outcome == ON_ITS_WAY else ""
            return outcome, tried + why
    return "delivered", ""


def _reason(delivery: Row) -> str:
    attempts = attempts_of(delivery) or [{}]
    why = delivery.get("reason") or attempts[-1].get("reason") or attempts[-1].get("detail")
    return f"{delivery['trigger'].rpartition('/')[2]}: {why}" if why else ""


async def _deliveries(ask: Ask, found: Row, last: Row) -> list[Row] | None:
    """The deliveries of the event that was sent again; None where they are not known.

    The local broker has it as an event of its own. A recorder has one event, whose runs since then
    are those of the sending: it does not know whether the broker tries one that failed again, and
    where it does not the dead letter comes back.
    """
    number, what = str(found["number"]), {"correlation": found["trace"], "type": found["type"]}
    events = await search(ask, **what, limit=MAX_IN_TRACE)
    for event in events:  # newest first
        if event["attributes"].get("redriveof") == number:
            return list(event["deliveries"])
    since = instant(last["began_at"])
    made = [
        {**delivery, "state": "pending"} if delivery["state"] == "failed" else delivery
        for event in events
        if since and event["attributes"]["id"] == found["id"]
        for delivery in event["deliveries"]
        if delivery["attempts"] and times(delivery["attempts"][-1])[1] >= since.timestamp()
    ]
    return made or None


def to_results(
    view: View, results: Sequence[Row], left: int = 0, wanted: Mapping[str, str] | None = None
) -> Response:
    """To the page of these dead letters: a reload of it does nothing again.

    What came of each is read there; the notice counts what was not done, and what is `left` of the
    filter `wanted`.
    """
    if not results:
        back = f"/dead-letters?{urlencode(wanted or {})}"
        return done(view, back, "No open dead letter was left to act on.", "calm")
    numbers = ",".join(str(row["dead_letter"]) for row in results)
    failed = [row for row in results if row["outcome"] not in _VERBS]
    verb = next((_VERBS[row["outcome"]] for row in results if row not in failed), "done")
    message = [f"{count(len(results) - len(failed), 'dead letter')} {verb}"]
    message += [f"{left} are left"] * bool(left)
    message += [f"{len(failed)} not {verb}"] * bool(failed)
    # The first: of the others the page has the state.
    message += [f"{row['dead_letter']}: {row['detail']}" for row in failed[:2]]
    tone = "bad" if failed else "busy" if verb == _VERBS[SENDING] else "calm"
    return done(view, f"{PATH}?{urlencode({'numbers': numbers})}", "; ".join(message) + ".", tone)


def routes() -> list[Route]:
    panel = Panel("redriven", "What came of each", listed, live_s=LIVE_S)
    return Page(
        PATH, "What came of them", [panel], parent=("/dead-letters", "Dead letters")
    ).routes()
