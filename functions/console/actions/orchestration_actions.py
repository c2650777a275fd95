"""What a user does with a run: undo, retry, pause, resume, cancel."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import Route

from functions.console.ask import Row
from functions.console.formatting import format_state
from functions.console.orchestrations import (
    FUNCTION,
    execution_path,
    read_run,
    read_timeline,
    run_page,
)
from functions.console.pages import endpoint
from functions.console.panels import Query
from functions.console.rendering import View, done, render
from functions.console.saga_run_actions import (
    ACTIONS,
    DANGEROUS,
    REFUSED,
    SAME_PAYLOAD,
    can_start_another,
    is_refused,
    payload_of,
)
from functions.kit.errors import NotFound

MAX_RESULT = 300  # of what a step returned, in characters


async def confirm(view: View) -> Response:
    """What an action would do, first of all what would be undone."""
    query = view.query
    action = _action(query)
    title, text = ACTIONS[action]
    acts, steps = True, []
    found = await read_run(view.ask, query)
    facts = {"run": found["executionId"], "state": format_state(found["status"])}
    if action == "retry" and found["reason"]:
        facts["went wrong"] = found["reason"]
    if action == "undo":
        to = query.get("to") or None
        plan = await view.ask.function(FUNCTION).read(f"{execution_path(query)}/undo-plan", to=to)
        steps = [[_undo(found["steps"], name) for name in wave] for wave in plan["waves"]]
        facts["stays as it is"] = ", ".join(plan["kept"]) or "nothing"
        if plan["unsure"]:
            facts["may have taken effect"] = ", ".join(plan["unsure"])
        if plan["awaited"]:
            facts["awaited first"] = ", ".join(plan["awaited"])
        if not plan["waves"]:
            text, acts = "There is nothing to undo.", False
    refused = action == "retry" and is_refused(await read_timeline(view.ask, query))
    back_to = [step["name"] for step in found["steps"]] if action == "undo" else []
    values = {
        "choices": back_to,
        "chosen": query.get("to", ""),
        "title": f"{title} this run of {query['name']}?",
        "text": text,
        "steps": ["; ".join(wave) for wave in steps],
        "facts": facts,
        "warning": (REFUSED if refused else SAME_PAYLOAD) if action == "retry" else "",
        "payload": payload_of(found) if action == "retry" else "",
        "another": f"{run_page(query)}/another" if refused and can_start_another(found) else "",
        "style": "primary danger" if action in DANGEROUS else "quiet" if refused else "primary",
        "fields": {"to": query["to"]} if query.get("to") else {},
        "action": f"{run_page(query)}/{action}",
        "button": title if acts else "",
        "back": run_page(query),
    }
    return render(view, "confirm.html", values)


async def act(view: View) -> Response:
    form, who = await view.authentication.act()
    action = _action(view.query)
    query = {"reason": form["reason"]}
    if action == "undo" and form.get("to"):
        query["to"] = form["to"]
    answer = await view.ask.function(FUNCTION).act(
        f"/api/orchestration/{action}/{view.query['flow']}?{urlencode(query)}", who
    )
    return done(view, run_page(view.query), f"{answer['message']}.")


def _undo(steps: Sequence[Row], name: str) -> str:
    """What undoing a step does, as far as it is registered: who is asked, and with what.

    >>> step = {"name": "createRealm", "worker": "realm-service", "result": {"realm": "acme"}}
    >>> _undo([step], "createRealm")
    'realm-service is asked to undo createRealm, with its result {"realm": "acme"}'
    """
    step = next(one for one in steps if one["name"] == name)
    who = step["worker"] or "the service that registers for it"
    result = "" if step["result"] is None else json.dumps(step["result"], ensure_ascii=False)
    given = f", with its result {result[:MAX_RESULT]}" if result else ""
    return f"{who} is asked to undo {name}{given}"


def _action(query: Query) -> str:
    if query["action"] not in ACTIONS:
        raise NotFound(f"There is no action {query['action']}.")
    return query["action"]


def routes() -> list[Route]:
    at = "/orchestrations/{name}/runs/{flow}/{action}"
    return [endpoint(at, confirm), endpoint(at, act, ["POST"])]
