"""Dead letters: what could not be handled, why, and sending it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import Route

from functions.console.ask import Ask, Row
from functions.console.formatting import ago, count, moment
from functions.console.pages import Page, View, done, endpoint, render
from functions.console.panels import Panel, Query
from functions.kit.errors import NotFound

FUNCTION = "dead-letter"
FILTERS = ("state", "function", "type")
STATES = ("open", "redriving", "redriven")
PAGE = 25
# A broker may try for minutes before it says that it took an event; the page then shows the rest.
PREFER = {"Prefer": "respond-async, wait=3"}
# On a laptop only: a cluster's broker is not reached by this command.
TRY_IT = (
    ".venv/bin/python -m knative.local send --type io.dsm.cycle.requested.v1"
    """ --data '{"project_id": "NOBODY"}'"""
)


def chosen(query: Mapping[str, str]) -> dict[str, str]:
    """The filters that the address names."""
    return {name: query[name] for name in FILTERS if query.get(name)}


async def letters(ask: Ask, query: Query) -> Mapping[str, Any]:
    """One page of letters, newest first."""
    wanted = chosen(query)
    peer = ask.function(FUNCTION)
    answer = await peer.read("/letters", **wanted, limit=PAGE, before=query.get("before"))
    for letter in answer["letters"]:
        letter["cause"] = cause(letter)
    older = urlencode({**wanted, "before": answer["next"]}) if answer["next"] else ""
    return {
        "letters": answer["letters"],
        "older": older,
        "newest": "before" not in query,
        "wanted": wanted,
        "filter": urlencode(wanted),
        "try_it": TRY_IT if ask.settings.console_local else "",
        "total": answer["total"],
        "ended": not any(letter["state"] == "redriving" for letter in answer["letters"]),
        "some_open": any(letter["state"] == "open" for letter in answer["letters"]),
    }


def cause(letter: Row) -> str:
    """Why an event was given up, in words.

    >>> cause({"function": "scrum-report", "code": 503, "detail": '{"detail": "no room"}'})
    'scrum-report was away or busy: no room'
    >>> cause({"function": None, "code": None, "detail": None})
    'the subscriber gave no answer in time, or one that made no sense'
    """
    who = letter["function"] or "the subscriber"
    code, said = letter["code"], _said(letter["detail"])
    if code is None:
        words = f"{who} gave no answer in time, or one that made no sense"
    elif code in (408, 425, 429) or code in (502, 503, 504):
        words = f"{who} was away or busy"
    elif code == 400:
        words = f"{who} took it for no valid event of its own"
    elif code in (413, 422):
        words = f"{who} refused it for good"
    elif code == 404:
        words = f"{who} was not there"
    else:
        words = f"{who} answered {code}"
    return f"{words}: {said}" if said else words


def _said(detail: str | None) -> str:
    """The words of an error body: ours are {"detail": ...}."""
    text = (detail or "").strip()
    try:
        found = json.loads(text)
    except ValueError:
        return text
    inner = found.get("detail") if isinstance(found, dict) else None
    return str(inner) if inner else text


async def letter(ask: Ask, query: Query) -> Mapping[str, Any]:
    """One letter as a whole."""
    found = await _letter(ask, query["number"])
    event = found["event"]
    attributes = {k: v for k, v in event.items() if k not in ("data", "data_base64")}
    data = event.get("data", event.get("data_base64"))
    return {
        "letter": found | {"cause": cause(found)},
        "attributes": attributes,
        "data": data,
        "chain": event.get("correlationid") or event["id"],
        "redrives": found["redrives"],
        "ended": found["state"] != "redriving",
    }


async def _letter(ask: Ask, number: str) -> Row:
    if not number.isdecimal():
        raise NotFound(f"There is no letter {number}.")
    found: Row = await ask.function(FUNCTION).read(f"/letters/{number}")
    return found


async def confirm_one(view: View) -> Response:
    """What would be sent again, to whom, before it is."""
    number = view.query["number"]
    found = await _letter(view.ask, number)
    last = ago(found["last_at"], view.ask.ctx.now())
    facts = {
        "event": f"{found['type']} {found['subject'] or ''}",
        "went wrong": cause(found),
        "given up": f"{count(found['count'], 'time')}, last {last} ({moment(found['last_at'])})",
    }
    values = {
        "title": f"Send letter {number} again?",
        "text": "The event goes to the broker as it first came. Whoever handled it already knows "
        "it by its id and does nothing twice.",
        "facts": facts,
        "fields": {},
        "action": f"/dead-letters/{number}/redrive",
        "button": "Send again",
        "back": f"/dead-letters/{number}",
    }
    return render(view, "confirm.html", values)


async def redrive_one(view: View) -> Response:
    _, who = await view.desk.act()
    number = view.query["number"]
    found = await _letter(view.ask, number)
    at = f"/letters/{found['number']}/redrive"
    answer = await view.ask.function(FUNCTION).act(at, who, headers=PREFER)
    words = f"Letter {number} was sent again."
    if answer["outcome"] == "returned":
        words = f"Letter {number} was sent again, and failed again."
    elif answer["outcome"] is None:
        words = f"Letter {number} is being sent again: what comes of it will stand here."
    return done(view, f"/dead-letters/{number}", words)


async def confirm_many(view: View) -> Response:
    """How many letters a filter means, before they are sent."""
    wanted = chosen(view.query) | {"state": "open"}
    answer = await view.ask.function(FUNCTION).read("/letters", **wanted, limit=1)
    some = count(answer["total"], "open letter")
    values = {
        "title": f"Send {some} again?",
        "text": "Oldest first, at most 200 at once; the page then says how many are left.",
        "facts": {name: wanted.get(name, "any") for name in FILTERS},
        "fields": chosen(view.query),
        "action": "/dead-letters/redrive",
        "button": "Send again",
        "back": f"/dead-letters?{urlencode(chosen(view.query))}",
    }
    return render(view, "confirm.html", values)


async def redrive_many(view: View) -> Response:
    form, who = await view.desk.act()
    wanted = chosen(form)
    body = {**wanted, "state": "open"}
    answer = await view.ask.function(FUNCTION).act("/redrive", who, body, PREFER)
    left = f" {answer['left']} are left." if answer["left"] else ""
    if "redriving" in answer:
        said = f"{answer['redriving']} letters are being sent again: their states show how.{left}"
        return done(view, f"/dead-letters?{urlencode(wanted)}", said)
    outcomes = [row["outcome"] for row in answer["redriven"]]
    parts = [f"{outcomes.count(name)} {name}" for name in ("sent", "returned", "failed")]
    said = f"Sent again: {', '.join(parts)}.{left}"
    return done(view, f"/dead-letters?{urlencode(wanted)}", said)


def routes() -> list[Route]:
    return [
        *Page(
            "/dead-letters",
            "Dead letters",
            [Panel("letters", "Letters", letters, live_s=3)],
            lead="Events that a function could not handle, after every retry. They wait here until "
            "somebody sends them again.",
            head="heads/letters.html",
        ).routes(),
        endpoint("/dead-letters/redrive", confirm_many),
        endpoint("/dead-letters/redrive", redrive_many, ["POST"]),
        *Page(
            "/dead-letters/{number}",
            "Letter {number}",
            [Panel("letter", "What happened", letter, live_s=2)],
            parent=("/dead-letters", "Dead letters"),
            exists=lambda ask, query: _letter(ask, query["number"]),
        ).routes(),
        endpoint("/dead-letters/{number}/redrive", confirm_one),
        endpoint("/dead-letters/{number}/redrive", redrive_one, ["POST"]),
    ]
