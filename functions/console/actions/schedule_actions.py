"""What a user does with a schedule: run, pause, resume, backfill.

The scheduler does it and keeps who asked. A schedule without a ledger can only be run: its event is
sent as its PingSource would send it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from starlette.responses import Response
from starlette.routing import Route

from functions.console import ledger
from functions.console.ask import Row
from functions.console.formatting import count, moment
from functions.console.pages import endpoint
from functions.console.ping_sources import described, source_of, valid_attribute
from functions.console.rendering import View, done, render
from functions.console.schedule_page import backfill_path, ledger_of, read_backfill
from functions.kit.clients import path
from functions.kit.errors import NotFound, PermanentError

# What each action is called, and what it does.
ACTIONS = {
    "run": (
        "Run {name} now?",
        "Its event is sent as if it were due. A minute counts once: a second run in the same "
        "minute changes nothing.",
        "Run now",
        "{name} runs now: see what becomes of it here.",
    ),
    "pause": (
        "Pause {name}?",
        "Times that come are skipped until it is resumed; what is on its way goes on.",
        "Pause",
        "{name} is paused.",
    ),
    "resume": (
        "Resume {name}?",
        "It runs again from now on. What was skipped stays skipped; a backfill runs it.",
        "Resume",
        "{name} is resumed.",
    ),
}
BACKFILL_ACTIONS = {
    "pause": ("Pause", "What was sent goes on; nothing more is sent until it is resumed."),
    "resume": ("Resume", "It goes on with the times that wait."),
    "cancel": ("Cancel", "What was sent goes on; the times that wait are left."),
}
BACKFILL_FIELDS = ("since", "before", "which", "at_once")


async def confirm(view: View) -> Response:
    """What an action would do, before it is done."""
    name, action = view.query["name"], _action(view)
    title, text, button, _ = ACTIONS[action]
    found = await ledger_of(view.ask, name)
    if found is None:
        if action != "run":
            raise NotFound(f"The scheduler does not follow {name}, so it cannot be paused.")
        row = described(await source_of(view.ask, name), view.ask.ctx.now())
        facts = {"schedule": row["cron"], "zone": row["zone"], "data": row["data"] or "none"}
    else:
        facts = {"schedule": found["expression"], "zone": found["zone"] or "UTC"}
        if found["next"]:
            facts["next"] = f"{moment(found['next'][0]['nominal'])} UTC"
        if found["pause"]:
            facts["paused"] = f"by {found['pause']['by']}: {found['pause']['reason']}"
    values = {
        "title": title.format(name=name),
        "text": text,
        "facts": facts,
        "fields": {},
        "asks_until": action == "pause",
        "action": f"{path('schedules', name)}/{action}",
        "button": button,
        "back": path("schedules", name),
    }
    return render(view, "confirm.html", values)


async def act(view: View) -> Response:
    form, who = await view.authentication.act()
    name, action = view.query["name"], _action(view)
    body: Row = {"by": valid_attribute(who), "reason": form["reason"]}
    if action == "pause":
        body["until"] = utc(form.get("until", "")) or None
    at = path("schedules", name)
    has_ledger = await ledger_of(view.ask, name) is not None
    await view.ask.function(ledger.FUNCTION).act(f"{at}/{action}", who, body)
    if not has_ledger:
        sent = f"{name} was sent its tick: see what came of it under Today."
        return done(view, "/schedules", sent)
    return done(view, at, ACTIONS[action][3].format(name=name))


async def plan_backfill(view: View) -> Response:
    """The range in a form; with a range also what would be run, and what would not, and why."""
    name, query = view.query["name"], view.query
    values: Row = {
        "title": f"Backfill {name}",
        "name": name,
        "at": path("schedules", name),
        "wrong": "",
        "items": None,
    }
    if await ledger_of(view.ask, name) is None:
        raise NotFound(f"The scheduler does not follow {name}, so no time of it can be run later.")
    if query.get("since") and query.get("before"):
        try:
            body = _asked(query, view.authentication.user.name) | {"dry_run": True}
            values["items"] = (await _backfill(view, name, body))["times"]
        except PermanentError as error:
            values["wrong"] = error.detail
    runs = [item for item in values["items"] or [] if item["runs"]]
    values |= {"runs": len(runs), "fields": {k: query.get(k, "") for k in BACKFILL_FIELDS}}
    return render(view, "backfill.html", values, 422 if values["wrong"] else 200)


async def begin_backfill(view: View) -> Response:
    form, who = await view.authentication.act()
    name = view.query["name"]
    answer = await _backfill(view, name, _asked(form, who) | {"dry_run": False}, who)
    at = path("schedules", name, "backfills", str(answer["number"]))
    return done(view, at, f"{count(len(answer['items']), 'nominal time')} will run.", "busy")


def _asked(fields: Mapping[str, str], who: str) -> Row:
    at_once = fields.get("at_once") or "1"
    return {
        "by": valid_attribute(who),
        "since": utc(fields.get("since", "")),
        "before": utc(fields.get("before", "")),
        "which": fields.get("which") or "missed",
        "at_once": int(at_once) if at_once.isdecimal() else at_once,
        "reason": fields.get("reason", ""),
    }


async def _backfill(view: View, name: str, body: Row, who: str = "") -> Row:
    at = f"{path('schedules', name)}/backfill"
    answer: Row = await view.ask.function(ledger.FUNCTION).act(at, who or body["by"], body)
    return answer


async def confirm_backfill(view: View) -> Response:
    action = _backfill_action(view)
    title, text = BACKFILL_ACTIONS[action]
    found = await read_backfill(view.ask, view.query)
    states = [item["state"] for item in found["items"]]
    values = {
        "title": f"{title} backfill {found['number']} of {found['schedule']}?",
        "text": text,
        "facts": {state: str(states.count(state)) for state in sorted(set(states))},
        "fields": {},
        "action": f"{backfill_path(view.query)}/{action}",
        "button": title,
        "back": backfill_path(view.query),
    }
    return render(view, "confirm.html", values)


async def change_backfill(view: View) -> Response:
    form, who = await view.authentication.act()
    action = _backfill_action(view)
    found = await read_backfill(view.ask, view.query)
    at = f"{path('backfills', str(found['number']))}/{action}"
    body = {"by": valid_attribute(who), "reason": form["reason"]}
    answer = await view.ask.function(ledger.FUNCTION).act(at, who, body)
    return done(view, backfill_path(view.query), f"The backfill is {answer['state']}.", "calm")


def _action(view: View) -> str:
    if view.query["action"] not in ACTIONS:
        raise NotFound(f"There is no action {view.query['action']}.")
    return view.query["action"]


def _backfill_action(view: View) -> str:
    if view.query["action"] not in BACKFILL_ACTIONS:
        raise NotFound(f"There is no action {view.query['action']}.")
    return view.query["action"]


def utc(local: str) -> str:
    """What a datetime-local field holds, which is UTC here, as an instant.

    >>> utc("2026-03-02T14:00"), utc("2026-03-02T14:00:30"), utc("")
    ('2026-03-02T14:00:00Z', '2026-03-02T14:00:30Z', '')
    """
    if not local:
        return ""
    try:
        return f"{datetime.fromisoformat(local):%Y-%m-%dT%H:%M:%SZ}"
    except ValueError:
        raise PermanentError(f"{local} is no time such as 2026-03-02T14:00.") from None


def routes() -> list[Route]:
    backfill = "/schedules/{name}/backfills/{number}/{action}"
    return [
        endpoint("/schedules/{name}/backfill", plan_backfill),
        endpoint("/schedules/{name}/backfill", begin_backfill, ["POST"]),
        endpoint(backfill, confirm_backfill),
        endpoint(backfill, change_backfill, ["POST"]),
        endpoint("/schedules/{name}/{action}", confirm),
        endpoint("/schedules/{name}/{action}", act, ["POST"]),
    ]
