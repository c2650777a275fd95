"""Starting another run of an orchestration with the payload of one that there was, edited."""

from __future__ import annotations

import json
from urllib.parse import urlencode
from uuid import uuid4

from starlette.responses import Response
from starlette.routing import Route

from functions.console.formatting import short_id
from functions.console.orchestrations import FUNCTION, read_run, run_page
from functions.console.pages import endpoint
from functions.console.rendering import View, done, render
from functions.console.saga_run_actions import can_start_another, payload_of
from functions.kit.clients import path
from functions.kit.errors import Conflict, PermanentError


async def form(view: View) -> Response:
    """The payload in a form; `PermanentError` where it is no JSON or too long for one."""
    found = await read_run(view.ask, view.query)
    if not can_start_another(found):
        raise PermanentError("This payload is no JSON, or too long to be edited here.")
    # Sent twice, the form starts one run.
    return _page(view, payload_of(found), str(uuid4()), found["reason"] or "")


def _page(
    view: View, payload: str, key: str, refused: str = "", reason: str = "", wrong: str = ""
) -> Response:
    at = run_page(view.query)
    values = {
        "title": f"Start another run of {view.query['name']}",
        "run": short_id(view.query["flow"]),
        "payload": payload,
        "key": key,
        "refused": refused,
        "reason": reason,
        "wrong": wrong,
        "action": f"{at}/another",
        "back": at,
    }
    return render(view, "start_run.html", values, 422 if wrong else 200)


async def start(view: View) -> Response:
    """Start it and show it; a payload that is no JSON comes back in the form with what is wrong."""
    sent, who = await view.authentication.act()
    text, key, reason = sent.get("payload", ""), sent.get("key", ""), sent["reason"]
    try:
        payload = json.loads(text)
    except ValueError as error:
        wrong = f"The payload is no valid JSON: {error}."
        return _page(view, text, key, reason=reason, wrong=wrong)
    name = view.query["name"]
    at = f"{path('api', 'orchestration', 'execute', name)}?{urlencode({'reason': reason})}"
    try:
        answer = await view.ask.function(FUNCTION).act(
            at, who, payload, {"Idempotency-Key": key} if key else {}
        )
    except Conflict:
        raise
    except PermanentError as error:
        return _page(view, text, key, reason=reason, wrong=error.detail)
    to = path("orchestrations", name, "runs", answer["flowId"])
    return done(view, to, f"Another run of {name} was started.")


def routes() -> list[Route]:
    at = "/orchestrations/{name}/runs/{flow}/another"
    return [endpoint(at, form), endpoint(at, start, ["POST"])]
