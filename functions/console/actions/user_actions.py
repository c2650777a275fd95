"""What users did: who, what, when and why, as the functions have it on record."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.routing import Route

from functions.console.ask import Ask, Row
from functions.console.pages import Page
from functions.console.panels import Panel, Query
from functions.kit.errors import FunctionError, TemporaryError

FUNCTIONS = ("scheduler", "dead-letter", "job-launcher")
SHOWN = 100


async def newest(ask: Ask, query: Query) -> Mapping[str, Any]:
    """The latest actions of all functions, the newest first, and which of them are unavailable."""

    async def of(name: str) -> list[Row] | str:
        try:
            found = await ask.function(name).read("/actions", limit=SHOWN)
        except FunctionError as error:
            return error.detail
        return [{**row, "function": name} for row in found["actions"]]

    found = dict(zip(FUNCTIONS, await asyncio.gather(*map(of, FUNCTIONS)), strict=True))
    away = {name: rows for name, rows in found.items() if isinstance(rows, str)}
    if len(away) == len(FUNCTIONS):
        raise TemporaryError(next(iter(away.values())))
    rows = [row for rows in found.values() if not isinstance(rows, str) for row in rows]
    rows.sort(key=lambda row: str(row["at"]), reverse=True)
    return {"actions": rows[:SHOWN], "away": away}


def routes() -> list[Route]:
    return Page(
        "/actions",
        "Actions",
        [Panel("actions", "The latest first", newest, live_s=10)],
        lead="What users did here, on the command line and over HTTP. A run of an orchestration "
        "has its own record, on its page.",
    ).routes()
