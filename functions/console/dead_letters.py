"""Dead letters: what could not be handled, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.routing import Route

from functions.console.ask import Ask, Row
from functions.console.formatting import curl, pretty, short_type
from functions.console.pages import Page
from functions.console.panels import Panel, Query
from functions.kit.errors import NotFound

FUNCTION = "dead-letter"
FILTERS = ("state", "function", "type", "since", "until")
PAGE = 25
# Of large data the page shows the beginning, in characters.
MAX_SHOWN = 20_000
# Refusals that may pass by themselves: brokers try these again.
PASSING = (404, 408, 409, 425, 429)
REFUSED_AGAIN = "It was refused for good: it likely will be again unless it is edited."
# On a laptop only: a cluster's broker is not reached by this command.
TRY_IT = (
    ".venv/bin/python -m knative.local send --type io.dsm.cycle.requested.v1"
    """ --event-data '{"project_id": "NOBODY"}'"""
)


def chosen(query: Mapping[str, str]) -> dict[str, str]:
    """The filters that the address names."""
    return {name: query[name] for name in FILTERS if query.get(name)}


async def listed(ask: Ask, query: Query) -> Mapping[str, Any]:
    """One page of them, newest first."""
    wanted = chosen(query)
    peer = ask.function(FUNCTION)
    answer = await peer.read("/dead-letters", **wanted, limit=PAGE, cursor=query.get("before"))
    for found in answer["dead_letters"]:
        found |= {"cause": cause(found), "name": event_name(found)}
    some_open = any(found["state"] == "open" for found in answer["dead_letters"])
    open_ = answer["total"]
    if some_open and wanted.get("state") != "open":
        open_ = (await peer.read("/dead-letters", **wanted | {"state": "open"}, limit=1))["total"]
    older = urlencode({**wanted, "before": answer["next"]}) if answer["next"] else ""
    return {
        "dead_letters": answer["dead_letters"],
        "older": older,
        "newest": "before" not in query,
        "wanted": wanted,
        "filter": urlencode(wanted),
        "try_it": TRY_IT if ask.settings.console_local else "",
        "total": answer["total"],
        "ended": "before" in query,
        "some_open": some_open,
        "open": open_,
    }


def cause(found: Row) -> str:
    """Why an event was given up.

    >>> cause({"function": "scrum-report", "code": 503, "detail": '{"detail": "no room"}'})
    'scrum-report was unavailable or busy: no room'
    >>> cause({"function": None, "code": None, "detail": None})
    'the subscriber gave no answer in time, or one that made no sense'
    """
    who = found["function"] or "the subscriber"
    code, detail = found["code"], _detail_of(found["detail"])
    if code is None:
        message = f"{who} gave no answer in time, or one that made no sense"
    elif code in (408, 425, 429) or code in (502, 503, 504):
        message = f"{who} was unavailable or busy"
    elif code == 400:
        message = f"{who} took it for no valid event of its own"
    elif code in (413, 422):
        message = f"{who} refused it for good"
    elif code == 404:
        message = f"{who} was not there"
    else:
        message = f"{who} answered {code}"
    return f"{message}: {detail}" if detail else message


def event_name(found: Row) -> str:
    """An event by its content: its type, and what it is about.

    >>> event_name({"type": "io.dsm.cycle.requested.v1", "subject": None, "about": "GONE-2"})
    'cycle.requested · GONE-2'
    """
    about = found.get("about") or found["subject"]  # a release before has no `about`
    return f"{short_type(found['type'])} · {about}" if about else short_type(found["type"])


def is_final(found: Row) -> bool:
    """Whether the answer was a refusal that no second sending of the same event changes.

    >>> is_final({"code": 422}), is_final({"code": 404}), is_final({"code": None})
    (True, False, False)
    """
    code = found["code"]
    return code is not None and 400 <= code < 500 and code not in PASSING


def _detail_of(detail: str | None) -> str:
    """The message of an error body: ours are {"detail": ...}."""
    text = (detail or "").strip()
    try:
        found = json.loads(text)
    except ValueError:
        return text
    inner = found.get("detail") if isinstance(found, dict) else None
    return str(inner) if inner else text


async def one(ask: Ask, query: Query) -> Mapping[str, Any]:
    """One dead letter as a whole."""
    found = await read_dead_letter(ask, query["number"])
    event = found["event"]
    attributes = {k: v for k, v in event.items() if k not in ("data", "data_base64")}
    data = as_text(event)[:MAX_SHOWN]
    return {
        "dead_letter": found | {"cause": cause(found)},
        "attributes": attributes,
        "json": pretty(event),
        "curl": curl(event),
        "data": data,
        "trace": trace_of(event),
        "redrives": found["redrives"],
        "audit": found["audit"],
        "cut": found["size"] > MAX_SHOWN,
        "ended": found["state"] != "redriving",
    }


def trace_of(event: Row) -> str:
    """The correlation id of an event in JSON: that of the one that began its trace."""
    return str(event.get("correlationid") or event["id"])


def as_text(event: Row) -> str:
    """An event's data for reading: JSON is indented, what is no text is base64."""
    data = event.get("data", event.get("data_base64"))
    return data if isinstance(data, str) else pretty(data)


async def _type(ask: Ask, query: Query) -> str:
    return short_type((await read_dead_letter(ask, query["number"]))["type"])


def is_number(text: str) -> bool:
    """Can it be the number of a dead letter?"""
    return text.isdecimal() and len(text) <= 18


async def read_dead_letter(ask: Ask, number: str) -> Row:
    if not is_number(number):
        raise NotFound(f"There is no dead letter {number}.")
    found: Row = await ask.function(FUNCTION).read(f"/dead-letters/{number}")
    return found


def routes() -> list[Route]:
    return [
        *Page(
            "/dead-letters",
            "Dead letters",
            [Panel("dead_letters", "Newest first", listed, live_s=3)],
            lead="Events that a function refused for good, or could not handle after every retry. "
            "They wait here until a user sends them again or dismisses them.",
            head="heads/dead_letters.html",
        ).routes(),
        *Page(
            "/dead-letters/{number}",
            "Dead letter {number}",
            [Panel("dead_letter", "Details", one, live_s=2)],
            parent=("/dead-letters", "Dead letters"),
            exists=_type,
        ).routes(),
    ]
