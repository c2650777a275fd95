"""Deliveries of webhooks: is everything here that their sources made, and what is refused?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from functions.console.ask import Ask, Row
from functions.console.attention_item import SHOWN, Item
from functions.console.events import correlation, search
from functions.console.panels import NotHere, Query
from functions.events.agent import AgentRefused
from functions.kit.errors import FunctionError

FUNCTION = "webhook-receiver"
# What a user can do something about; what is gone is only shown.
OPEN = ("missing", "refused")
SHOWN_REFUSALS = 20


async def status(ask: Ask, query: Query) -> Mapping[str, Any]:
    """The message of each comparison, and each delivery that is not here."""
    health = await _health(ask)
    compared = [*health["hooks"], *health["issues"], *health["alerts"]]
    for one in compared:
        one["tone"] = "bad" if one["problem"] else "good"
    return {**health, "compared": compared}


async def missing(ask: Ask) -> tuple[int, list[Item]]:
    """Deliveries that were made and are not here, which can be had for a while."""
    health = await _health(ask)
    found = [one for one in health["deliveries"] if one["state"] in OPEN]
    return len(found), [
        Item(
            f"{one['event']} {one['action'] or ''}".strip(),
            f"can be had at GitHub until {one['until']}; {one['reason'] or 'it is to be fetched'}",
            one["state"],
            "/functions",
        )
        for one in found[:SHOWN]
    ]


async def lacking(ask: Ask) -> Row:
    """Sources whose requests are `refused`, and why GitHub is not `asked` who may do what.

    Both are empty where nothing is missing.
    """
    found = await _health(ask)  # of one of an earlier release neither is known
    refused = [name for name, state in found.get("sources", {}).items() if state == "refused"]
    why = "" if "github" in refused else found.get("actors", "").partition("unknown: ")[2]
    return {"refused": refused, "asked": why}


async def notes(ask: Ask) -> list[str]:
    """What webhook-receiver is not configured for, a sentence for each; none while it is away."""
    try:
        found = await lacking(ask)
    except FunctionError:
        return []
    lines = []
    if found["refused"]:
        lines.append(f"Not configured, so refused: {', '.join(found['refused'])}.")
    if found["asked"]:
        lines.append(f"Who asks for an agent on GitHub is refused: {found['asked']}.")
    return lines


async def refused(ask: Ask) -> tuple[int, list[Item]]:
    """Requests for an agent that were refused as long as there are no credentials for GitHub."""
    try:
        why = (await lacking(ask))["asked"]
    except FunctionError:
        return 0, []  # of the same service it is unknown what is missing, which says so
    if not why:
        return 0, []
    try:
        events = await search(ask, type=AgentRefused.type, limit=SHOWN_REFUSALS)
    except NotHere:
        return 0, []
    those = [event for event in events if why in (event.get("data") or {}).get("reason", "")]
    return len(those), [
        Item(
            event["attributes"].get("subject", ""),
            f"{event['data']['reason']}: set the Secret github, then ask again",
            "refused",
            f"/events/trace?{urlencode({'correlation': correlation(event)})}",
        )
        for event in those[:SHOWN]
    ]


async def _health(ask: Ask) -> Row:
    found: Row = await ask.function(FUNCTION).read("/deliveries/health")
    return found
