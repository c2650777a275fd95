"""What one Job's agent left, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from functions.console.ask import Ask
from functions.console.panels import Query
from functions.kit.clients import path
from functions.kit.errors import NotFound

FUNCTION = "agent-outputs"


async def outputs_of(ask: Ask, query: Query) -> Mapping[str, Any]:
    """What one Job's agent left, and what became of it."""
    try:
        found = await ask.function(FUNCTION).read(path("outputs", query["id"]))
    except NotFound:
        return {"left": None}
    return {"left": found, "result": found["result"] or {}, "ended": found["state"] != "received"}
