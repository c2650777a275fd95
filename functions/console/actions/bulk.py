"""One action on many items that a user selected: asked for once, with a result for each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import Route

from functions.console import dead_letters, jobs, orchestrations, run_actions
from functions.console.ask import Ask, Row
from functions.console.formatting import count
from functions.console.pages import endpoint
from functions.console.rendering import View, render
from functions.kit.clients import path
from functions.kit.errors import FunctionError, NotFound, PermanentError

MAX_ITEMS = 100

# Does one action to one item for a user, for a reason; returns what came of it in a word.
Act = Callable[[Ask, str, str, str, str], Awaitable[str]]


@dataclass(frozen=True)
class Kind:
    """What can be selected on a page; `actions` are button and question.

    `href` is the page of an item.
    """

    noun: str
    page: str
    actions: Mapping[str, tuple[str, str]]
    href: Callable[[str], str]
    act: Act


async def _job(ask: Ask, item: str, action: str, who: str, reason: str) -> str:
    at = f"{path('jobs', item)}/{action}?{urlencode({'reason': reason})}"
    await ask.function(jobs.FUNCTION).act(at, who)
    return "asked to stop"


async def _run(ask: Ask, item: str, action: str, who: str, reason: str) -> str:
    flow = item.rpartition("/")[2]
    at = f"{path('api', 'orchestration', action, flow)}?{urlencode({'reason': reason})}"
    answer = await ask.function(orchestrations.FUNCTION).act(at, who)
    return str(answer["message"])


async def _dead_letter(ask: Ask, item: str, action: str, who: str, reason: str) -> str:
    peer = ask.function(dead_letters.FUNCTION)
    await peer.act(f"{path('dead-letters', item)}/{action}", who, {"reason": reason})
    return "dismissed" if action == "dismiss" else "redriving"


def _run_page(item: str) -> str:
    name, _, flow = item.rpartition("/")
    return path("orchestrations", name, "runs", flow)


KINDS = {
    "jobs": Kind(
        "Job",
        "/jobs",
        {"cancel": ("Stop", "Each pod gets the time that it has to end.")},
        lambda item: path("jobs", item),
        _job,
    ),
    "runs": Kind(
        "run",
        "/orchestrations",
        {name: run_actions.ACTIONS[name] for name in ("retry", "pause", "resume", "cancel")},
        _run_page,
        _run,
    ),
    "dead-letters": Kind(
        "dead letter",
        "/dead-letters",
        {
            "redrive": ("Send again", "Each event goes to the broker as it first came."),
            "dismiss": ("Dismiss", "Nothing is sent. They need no attention any more."),
        },
        lambda item: path("dead-letters", item),
        _dead_letter,
    ),
}


async def confirm(view: View) -> Response:
    """Which items an action is for, before it is done to any."""
    kind, action = _asked(view)
    items = view.request.query_params.getlist("item")
    _check(items)
    button, text = kind.actions[action]
    values = {
        "title": f"{button} {count(len(items), kind.noun)}?",
        "text": text,
        "facts": {},
        "items": items,
        "fields": {"items": "\n".join(items)},
        "action": f"/bulk/{view.query['kind']}?action={action}",
        "button": button,
        "back": kind.page,
    }
    return render(view, "confirm.html", values)


async def act(view: View) -> Response:
    """The outcome of each item; one that failed stops no other."""
    form, who = await view.authentication.act()
    kind, action = _asked(view)
    items = form.get("items", "").splitlines()
    _check(items)
    reason = form["reason"]
    results = await asyncio.gather(
        *(_result(view.ask, kind, item, action, who, reason) for item in items)
    )
    outcomes = [row["outcome"] for row in results]
    values = {
        "title": f"{kind.actions[action][0]}: {count(len(items), kind.noun)}",
        "noun": kind.noun,
        "results": results,
        "counts": {name: outcomes.count(name) for name in sorted(set(outcomes))},
        "left": 0,
        "back": kind.page,
    }
    return render(view, "results.html", values)


async def _result(ask: Ask, kind: Kind, item: str, action: str, who: str, reason: str) -> Row:
    row: Row = {"item": item, "href": kind.href(item)}
    try:
        return row | {"outcome": await kind.act(ask, item, action, who, reason), "detail": ""}
    except FunctionError as error:
        return row | {"outcome": "failed", "detail": error.detail}


def _asked(view: View) -> tuple[Kind, str]:
    kind, action = KINDS.get(view.query["kind"]), view.query.get("action", "")
    if kind is None or action not in kind.actions:
        raise NotFound("There is no such action.")
    return kind, action


def _check(items: list[str]) -> None:
    if not items:
        raise PermanentError("Nothing is selected: go back and check at least one.")
    if len(items) > MAX_ITEMS:
        raise PermanentError(f"At most {MAX_ITEMS} at once.")


def routes() -> list[Route]:
    return [endpoint("/bulk/{kind}", confirm), endpoint("/bulk/{kind}", act, ["POST"])]
