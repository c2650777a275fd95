"""One action on many items that a user selected: asked for once, with a result for each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import Route

from functions.console import dead_letters, jobs, orchestrations, saga_run_actions
from functions.console.ask import Ask, Row
from functions.console.formatting import count
from functions.console.pages import endpoint
from functions.console.redriven import DISMISSED, SENDING, to_results
from functions.console.rendering import View, render
from functions.kit.clients import path
from functions.kit.errors import FunctionError, NotFound, PermanentError

MAX_ITEMS = 100

# Does one action to one item for a user, for a reason; returns what came of it in a word.
Act = Callable[[Ask, str, str, str, str], Awaitable[str]]
# An item's `name`, for a reader; `warning`, what to know before it is acted on; and `detail`.
Describe = Callable[[Ask, str, str], Awaitable[Row]]


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
    describe: Describe


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
    return DISMISSED if action == "dismiss" else SENDING


async def _describe_dead_letter(ask: Ask, item: str, action: str) -> Row:
    found = await dead_letters.read_dead_letter(ask, item)
    is_again = action == "redrive" and dead_letters.is_final(found)
    warning = dead_letters.cause(found) + (f". {dead_letters.REFUSED_AGAIN}" if is_again else "")
    name = dead_letters.event_name(found)
    return {"name": name, "detail": "", "warning": warning, "id": found["id"]}


async def _describe_run(ask: Ask, item: str, action: str) -> Row:
    name, _, flow = item.rpartition("/")
    query = {"name": name, "flow": flow}
    found = await orchestrations.read_run(ask, query)
    warning = saga_run_actions.SAME_PAYLOAD if action == "retry" else ""
    detail = found["waitingFor"] or found["reason"] or ""
    return {"name": detail, "detail": "", "warning": warning, "id": flow}


async def _describe_job(ask: Ask, item: str, action: str) -> Row:
    found = await jobs.read_job(ask, item)
    ended = jobs.state_of(found) if found["state"] in jobs.ENDED else ""
    warning = f"It has ended: {ended}" if ended else ""
    return {"name": found["task_id"], "detail": "", "warning": warning, "id": item}


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
        _describe_job,
    ),
    "runs": Kind(
        "run",
        "/orchestrations",
        {name: saga_run_actions.ACTIONS[name] for name in ("retry", "pause", "resume", "cancel")},
        _run_page,
        _run,
        _describe_run,
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
        _describe_dead_letter,
    ),
}


async def confirm(view: View) -> Response:
    """Which items an action is for, before it is done to any."""
    kind, action = _asked(view)
    items = view.request.query_params.getlist("item")
    if not items:
        return render(view, "confirm.html", {**_nothing(kind), "here": kind.page}, 422)
    _check(items)
    button, text = kind.actions[action]
    described = await asyncio.gather(*(_described(view.ask, kind, item, action) for item in items))
    values = {
        "title": f"{button} {count(len(items), kind.noun)}?",
        "text": text,
        "facts": {},
        "described": [{"item": item, **row} for item, row in zip(items, described, strict=True)],
        "fields": {"items": "\n".join(items)},
        "action": f"/bulk/{view.query['kind']}?action={action}",
        "button": button,
        "style": "primary danger" if action == "cancel" else "primary",
        "here": kind.page,
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
    if any(row["outcome"] in (SENDING, DISMISSED) for row in results):
        return to_results(view, [{**row, "dead_letter": row["item"]} for row in results])
    outcomes = [row["outcome"] for row in results]
    values = {
        "title": f"{kind.actions[action][0]}: {count(len(items), kind.noun)}",
        "noun": kind.noun,
        "results": results,
        "outcomes": {name: outcomes.count(name) for name in sorted(set(outcomes))},
        "here": kind.page,
        "back": kind.page,
    }
    return render(view, "results.html", values)


async def _result(ask: Ask, kind: Kind, item: str, action: str, who: str, reason: str) -> Row:
    row: Row = {"item": item, "href": kind.href(item)}
    try:
        outcome = await kind.act(ask, item, action, who, reason)
    except FunctionError as error:
        known = await _described(ask, kind, item, action)
        return row | known | {"outcome": "failed", "detail": error.detail}
    return row | await _described(ask, kind, item, action) | {"outcome": outcome}


async def _described(ask: Ask, kind: Kind, item: str, action: str) -> Row:
    """What is known of an item; one that cannot be read is still acted on."""
    unknown = {"name": "", "detail": "", "warning": ""}
    try:
        return await kind.describe(ask, item, action)
    except FunctionError:
        return unknown


def _nothing(kind: Kind) -> Row:
    """The page without script for a button that was pressed with nothing selected."""
    text = f"Check at least one {kind.noun} in the list, then press the button again."
    return {"title": "Nothing is selected", "text": text, "facts": {}, "back": kind.page}


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
