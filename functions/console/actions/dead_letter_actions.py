"""What a user does with dead letters: send again, edit and send, dismiss, delete; one or many."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import Route

from functions.console.ask import Row
from functions.console.dead_letters import (
    FILTERS,
    FUNCTION,
    REFUSED_AGAIN,
    as_text,
    cause,
    chosen,
    event_name,
    is_final,
    read_dead_letter,
)
from functions.console.formatting import ago, count, moment
from functions.console.pages import endpoint
from functions.console.redriven import to_results
from functions.console.rendering import View, done, render
from functions.kit.errors import Conflict, PermanentError


async def confirm_one(view: View) -> Response:
    """What would be sent again, to whom, before it is."""
    number = view.query["number"]
    found = await read_dead_letter(view.ask, number)
    last = f"{ago(found['last_at'], view.ask.ctx.now())} ({moment(found['last_at'])} UTC)"
    facts = {
        "event": event_name(found),
        "id": found["id"],
        "went wrong": cause(found),
        **({"if sent unchanged": REFUSED_AGAIN} if is_final(found) else {}),
        "given up": f"{count(found['count'], 'time')}, last {last}",
    }
    values = {
        "title": f"Send dead letter {number} again?",
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
    form, who = await view.authentication.act()
    number = view.query["number"]
    found = await read_dead_letter(view.ask, number)
    at = f"/dead-letters/{found['number']}/redrive"
    await view.ask.function(FUNCTION).act(at, who, {"reason": form["reason"]})
    return _sending(view, number)


def _sending(view: View, number: str) -> Response:
    """Back to the dead letter, which shows the outcome of the redrive."""
    message = f"Dead letter {number} is being sent again: see its outcome here."
    return done(view, f"/dead-letters/{number}", message, "busy")


async def edit(view: View) -> Response:
    """The event's data and subject in a form."""
    number = view.query["number"]
    found = await read_dead_letter(view.ask, number)
    return _edit_page(view, found, as_text(found["event"]), found["subject"] or "")


def _edit_page(
    view: View, found: Row, data: str, subject: str, reason: str = "", wrong: str = ""
) -> Response:
    values = {
        "title": f"Edit dead letter {found['number']} and send it",
        "dead_letter": found,
        "data": data,
        "subject": subject,
        "reason": reason,
        "wrong": wrong,
    }
    return render(view, "edit_dead_letter.html", values, 422 if wrong else 200)


async def send_edited(view: View) -> Response:
    """Send what the form holds; bad data comes back in the form with what is wrong with it."""
    form, who = await view.authentication.act()
    number = view.query["number"]
    found = await read_dead_letter(view.ask, number)
    text, subject, reason = form.get("data", ""), form.get("subject", ""), form["reason"]
    change: dict[str, Any] = {"data": text, "reason": reason}
    if "json" in (found["event"].get("datacontenttype") or "application/json"):
        try:
            change["data"] = json.loads(text)
        except ValueError as error:
            wrong = f"The data is no valid JSON: {error}."
            return _edit_page(view, found, text, subject, reason, wrong)
    if subject != (found["subject"] or ""):
        change["attributes"] = {"subject": subject}
    peer = view.ask.function(FUNCTION)
    try:
        await peer.act(f"/dead-letters/{found['number']}/redrive", who, change)
    except Conflict:
        raise
    except PermanentError as error:
        return _edit_page(view, found, text, subject, reason, error.detail)
    return _sending(view, number)


# What ends a dead letter without sending it: button, text, and outcome.
ENDS = {
    "dismiss": ("Dismiss", "Nothing is sent. It needs no attention any more.", "dismissed"),
    "delete": ("Delete", "The event is deleted with its payload, for good.", "deleted"),
}


async def confirm_end(view: View) -> Response:
    """Asks for the reason, which is kept with who gave it."""
    number, action = view.query["number"], view.request.url.path.rpartition("/")[2]
    found = await read_dead_letter(view.ask, number)
    title, text, _ = ENDS[action]
    values = {
        "title": f"{title} dead letter {number}?",
        "text": text,
        "facts": {
            "event": event_name(found),
            "id": found["id"],
            "failed": cause(found),
        },
        "fields": {},
        "action": f"/dead-letters/{number}/{action}",
        "button": title,
        "style": "primary danger" if action == "delete" else "primary",
        "back": f"/dead-letters/{number}",
    }
    return render(view, "confirm.html", values)


async def end(view: View) -> Response:
    form, who = await view.authentication.act()
    number, action = view.query["number"], view.request.url.path.rpartition("/")[2]
    found = await read_dead_letter(view.ask, number)
    body = {"reason": form["reason"]}
    await view.ask.function(FUNCTION).act(f"/dead-letters/{found['number']}/{action}", who, body)
    to = "/dead-letters" if action == "delete" else f"/dead-letters/{number}"
    return done(view, to, f"Dead letter {number} was {ENDS[action][2]}.", "calm")


async def confirm_dismiss_many(view: View) -> Response:
    """How many dead letters a filter selects, and the reason for which they are dismissed."""
    text = "Nothing is sent. Oldest first, at most 200 at once."
    return await _confirm_many(view, "Dismiss {}?", text, "dismiss", "Dismiss")


async def dismiss_many(view: View) -> Response:
    form, who = await view.authentication.act()
    wanted = chosen(form)
    body = {**wanted, "state": "open", "reason": form["reason"]}
    answer = await view.ask.function(FUNCTION).act("/dismiss", who, body)
    return to_results(view, answer["dismissed"], answer["left"], wanted)


async def confirm_many(view: View) -> Response:
    """How many dead letters a filter selects, before they are sent."""
    text = "Oldest first, at most 200 at once; the page then says how many are left."
    return await _confirm_many(view, "Send {} again?", text, "redrive", "Send again")


async def _confirm_many(view: View, title: str, text: str, action: str, button: str) -> Response:
    """A form for all open dead letters of a filter; `title` has a place for how many they are."""
    wanted = chosen(view.query) | {"state": "open"}
    answer = await view.ask.function(FUNCTION).read("/dead-letters", **wanted, limit=1)
    values = {
        "title": title.format(count(answer["total"], "open dead letter")),
        "text": text,
        "facts": {name: wanted.get(name, "any") for name in FILTERS},
        "fields": chosen(view.query),
        "action": f"/dead-letters/{action}",
        "button": button,
        "back": f"/dead-letters?{urlencode(chosen(view.query))}",
    }
    return render(view, "confirm.html", values)


async def redrive_many(view: View) -> Response:
    form, who = await view.authentication.act()
    wanted = chosen(form)
    body = {**wanted, "state": "open", "reason": form["reason"]}
    answer = await view.ask.function(FUNCTION).act("/redrive", who, body)
    return to_results(view, answer["redriven"], answer["left"], wanted)


def routes() -> list[Route]:
    return [
        endpoint("/dead-letters/redrive", confirm_many),
        endpoint("/dead-letters/redrive", redrive_many, ["POST"]),
        endpoint("/dead-letters/dismiss", confirm_dismiss_many),
        endpoint("/dead-letters/dismiss", dismiss_many, ["POST"]),
        endpoint("/dead-letters/{number}/redrive", confirm_one),
        endpoint("/dead-letters/{number}/redrive", redrive_one, ["POST"]),
        endpoint("/dead-letters/{number}/edit", edit),
        endpoint("/dead-letters/{number}/edit", send_edited, ["POST"]),
        *(endpoint(f"/dead-letters/{{number}}/{action}", confirm_end) for action in ENDS),
        *(endpoint(f"/dead-letters/{{number}}/{action}", end, ["POST"]) for action in ENDS),
    ]
