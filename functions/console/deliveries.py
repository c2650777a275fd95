"""Deliveries of webhooks: is everything here that their sources made, and what is refused?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from functions.console.ask import Ask, Row
from functions.console.attention_item import SHOWN, Item
from functions.console.panels import Query
from functions.console.refused_requests import NO_CREDENTIALS, SET_CREDENTIALS
from functions.kit.errors import FunctionError

FUNCTION = "webhook-receiver"
# What a user can do something about; what is gone is only shown.
OPEN = ("missing", "refused")


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


async def notes(ask: Ask) -> list[str]:
    """What webhook-receiver is not configured for, a sentence for each; none while it is away."""
    try:
        found = await _health(ask)  # of one of an earlier release neither is known
    except FunctionError:
        return []
    refused = [name for name, state in found.get("sources", {}).items() if state == "refused"]
    lines = []
    if refused:
        lines.append(f"Not configured, so refused: {', '.join(refused)}.")
    if "github" not in refused and NO_CREDENTIALS in found.get("actors", ""):
        lines.append(
            f"It has {NO_CREDENTIALS}, so no user's role can be read, and who asks for an agent is "
            f"refused. {SET_CREDENTIALS}."
        )
    return lines


async def _health(ask: Ask) -> Row:
    found: Row = await ask.function(FUNCTION).read("/deliveries/health")
    return found
