"""Requests for an agent that were refused: who asked for what, why not, and what to do."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from functions.console.ask import Ask, Row
from functions.console.attention_item import SHOWN, Item
from functions.console.events import correlation, search
from functions.console.formatting import instant
from functions.console.jobs import FUNCTION as LAUNCHER
from functions.console.panels import NotHere, Query
from functions.events.agent import AgentRefused
from functions.kit.errors import FunctionError

SHOWN_REFUSALS = 20
# For so long one needs attention whose sender's role could not be read.
LOOKED_BACK = timedelta(days=1)
UNREAD = re.compile(r"(?:GitHub could not be asked|actor is unknown|actor is not known).*?: (.+)")
NO_CREDENTIALS = "no credentials for GitHub"
# Where the function that lacks them says so.
CREDENTIALS = "/functions#runs-webhook-receiver"
SET_CREDENTIALS = "Set GITHUB_TOKEN, or GITHUB_APP_ID with GITHUB_APP_PRIVATE_KEY (Secret github)"
_AGAIN = {"label": "set the label again", "/agent": "write the comment again"}


async def listed(ask: Ask, query: Query) -> Mapping[str, Any]:
    """The newest requests for an agent that were refused, each with the reason."""
    return {"refused": await refused(ask)}


async def refused(ask: Ask) -> list[Row]:
    """The newest of them; `NotHere` where no component keeps events."""
    events = await search(ask, type=AgentRefused.type, limit=SHOWN_REFUSALS)
    return [row_of(event) for event in events]


async def unread(ask: Ask) -> tuple[int, list[Item]]:
    """Those of the last day whose sender's role could not be read, and whose issue got no Job
    since: to refuse a user whose role is known needs no attention."""
    try:
        rows = await refused(ask)
    except NotHere:
        return 0, []
    since = (ask.ctx.now() - LOOKED_BACK).timestamp()
    newest: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row["problem"] and row["arrived"] >= since:
            newest.setdefault((row["subject"], row["login"]), row)
    found = list(newest.values())
    begun = await asyncio.gather(*(_has_job_since(ask, row) for row in found))
    found = [row for row, has_job in zip(found, begun, strict=True) if not has_job]
    return len(found), [
        Item(f"{row['subject']}, {row['login']}", row["problem"], "refused", row["href"])
        for row in found[:SHOWN]
    ]


async def _has_job_since(ask: Ask, row: Row) -> bool:
    try:
        answer = await ask.function(LAUNCHER).read("/jobs", task=row["subject"], limit=1)
    except FunctionError:
        return False
    times = [instant(job["queued_at"]) for job in answer["jobs"]]
    return any(at is not None and at.timestamp() > row["arrived"] for at in times)


def row_of(event: Row) -> Row:
    """A refusal for a reader. `problem` is why the sender's role could not be read, empty where it
    is known; `why` a sentence, which begins with the function that lacks credentials, if one does.

    >>> data = {"login": "mallory", "asked": "label agent", "reason": "actor is read, not triage"}
    >>> event = {"seq": 7, "arrived": 0, "attributes": {"id": "e", "subject": "a/b#1"}}
    >>> row_of(event | {"data": data})["why"]
    "mallory's role is read, not triage"
    >>> lost = "GitHub could not be asked whether actor is triage or more: GitHub did not answer"
    >>> row_of(event | {"data": data | {"reason": lost}})["why"]
    "mallory's role could not be read: GitHub did not answer. Set the label again."
    >>> none = "actor is unknown, not write or more: there are no credentials for GitHub"
    >>> row_of(event | {"data": data | {"reason": none}})["problem"]
    'webhook-receiver has no credentials for GitHub'
    """
    data = event.get("data") or {}
    login, reason, asked = (str(data.get(name, "")) for name in ("login", "reason", "asked"))
    again = _AGAIN.get(asked.partition(" ")[0], "ask again")
    unread = UNREAD.fullmatch(reason)
    problem = unread[1] if unread else ""
    is_unconfigured = NO_CREDENTIALS in problem
    if is_unconfigured:
        problem = f"webhook-receiver has {NO_CREDENTIALS}"
        why = f", so {login}'s role could not be read. {SET_CREDENTIALS}, then {again}."
    elif problem:
        why = f"{login}'s role could not be read: {problem}. {again[0].upper()}{again[1:]}."
    else:
        text = re.sub(r"^actor is (?!not known)", lambda _: f"{login}'s role is ", reason)
        why = re.sub(r"\bactor\b", lambda _: login, text)
    return {
        "seq": event["seq"],
        "arrived": event["arrived"],
        "subject": event["attributes"].get("subject", ""),
        "correlation": correlation(event),
        "login": login,
        "asked": asked,
        "problem": problem,
        "problem_at": CREDENTIALS if is_unconfigured else "",
        "why": why,
        "href": f"/agents#refused-{event['seq']}",
    }
