"""What users did: who, what, when and why, as the functions have it on record."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from starlette.routing import Route

from functions.console.ask import Ask, Row
from functions.console.pages import Page
from functions.console.panels import Panel, Query
from functions.kit.clients import path
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
        return [{**row, "function": name, "href": page_of(row)} for row in found["actions"]]

    found = dict(zip(FUNCTIONS, await asyncio.gather(*map(of, FUNCTIONS)), strict=True))
    away = {name: rows for name, rows in found.items() if isinstance(rows, str)}
    if len(away) == len(FUNCTIONS):
        raise TemporaryError(next(iter(away.values())))
    rows = [row for rows in found.values() if not isinstance(rows, str) for row in rows]
    rows.sort(key=lambda row: str(row["at"]), reverse=True)
    return {"actions": rows[:SHOWN], "away": away}


def page_of(row: Row) -> str:
    """The page of what was acted on; empty where it has none any more.

    >>> page_of({"action": "sent again", "subject": "dead letter 7"})
    '/dead-letters/7'
    >>> page_of({"action": "run", "subject": "sprint-report@2026-03-02T14:30:00+00:00"})
    '/schedules/sprint-report'
    >>> page_of({"action": "began", "subject": "backfill 3 of sprint-report"})
    '/schedules/sprint-report/backfills/3'
    """
    subject = row["subject"]
    if found := re.fullmatch(r"dead letter (\d+)", subject):
        return "" if row["action"] == "deleted" else path("dead-letters", found[1])
    if found := re.fullmatch(r"(?:.+ of )?job (\S+)", subject):
        return path("jobs", found[1])
    if found := re.fullmatch(r"backfill (\d+)(?: of (.+))?", subject):
        return path("schedules", found[2], "backfills", found[1]) if found[2] else "/schedules"
    return path("schedules", subject.partition("@")[0])


def routes() -> list[Route]:
    return Page(
        "/actions",
        "Actions",
        [Panel("actions", "The latest first", newest, live_s=10)],
        lead="What users did here, on the command line and by other programs. A run of an "
        "orchestration has its own record, on its page.",
    ).routes()
