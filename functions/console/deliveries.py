"""Deliveries of webhooks: is everything here that their sources made?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from functions.console.ask import Ask, Row
from functions.console.attention_item import SHOWN, Item
from functions.console.panels import Query

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


async def _health(ask: Ask) -> Row:
    found: Row = await ask.function(FUNCTION).read("/deliveries/health")
    return found
