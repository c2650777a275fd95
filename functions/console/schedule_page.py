"""One schedule: what is coming, its ledger, and a backfill of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.routing import Route

from functions.console import ledger
from functions.console.ask import Ask, Row
from functions.console.pages import Page
from functions.console.panels import NotHere, Panel, Query
from functions.console.ping_sources import coming, described, source_of
from functions.console.schedules import (
    LOOKED_BACK,
    is_under_way,
    known_since,
    needs_attention,
    was_due,
    why_late,
)
from functions.kit.clients import path
from functions.kit.errors import NotFound

COUNT = 10
PAGE = 30
ENDED = ("done", "cancelled")


async def ledger_of(ask: Ask, name: str) -> Row | None:
    """A schedule with its next times as the scheduler keeps it; None where it has no ledger."""
    try:
        return await ledger.schedule(ask, name)
    except NotFound:
        return None


async def status(ask: Ask, query: Query) -> Mapping[str, Any]:
    """What it is, whether it is paused, and what of the last days went wrong."""
    name, now = query["name"], ask.ctx.now()
    found = await ledger_of(ask, name)
    if found is None:
        return {"row": described(await source_of(ask, name), now), "ledger": None}
    unsuccessful, newest = await asyncio.gather(
        ledger.unsuccessful(ask, now - LOOKED_BACK), ledger.ticks(ask, 1, schedule=name)
    )
    row = {
        "name": name,
        "cron": found["expression"],
        "zone": found["zone"] or "UTC",
        "problem": found["problem"],
        "overdue": ledger.overdue(found, now),
        "unsuccessful": unsuccessful.get(name, []),
    }
    late = why_late(row) if needs_attention(row) else ""
    policies = {key.partition("/")[2]: value for key, value in found["policy"].items()}
    running = is_under_way(newest[0] if newest else None)
    since = now - LOOKED_BACK
    return {
        "row": row,
        "ledger": found,
        "late": late,
        "policies": policies,
        "running": running,
        "was_due": was_due(found, since),
        "since": since,
        "until": now.replace(second=0),
        "begun": next(iter(known_since([{"name": name, "ledger": found}], since)), None),
    }


async def following(ask: Ask, query: Query) -> Mapping[str, Any]:
    """Its next ten times."""
    name = query["name"]
    found = await ledger_of(ask, name)
    if found is not None:
        return {"ticks": found["next"], "zone": found["zone"] or "UTC"}
    source = await source_of(ask, name)
    zone = described(source, ask.ctx.now())["zone"]
    return {"ticks": coming(source, ask.ctx.now(), COUNT), "zone": zone}


async def ticks(ask: Ask, query: Query) -> Mapping[str, Any]:
    """One page of what became of its nominal times, the latest first."""
    name = query["name"]
    found = await ledger_of(ask, name)
    if found is None:
        raise NotHere(
            "What becomes of its times is not kept. With an annotation schedules.dsm.io/missed "
            "of its PingSource, which says what happens to a missed time, the scheduler keeps it."
        )
    state = query.get("state") if query.get("state") in ledger.STATES else None
    cursor = query.get("cursor")
    rows, following = await ledger.page_of_ticks(
        ask, PAGE, schedule=name, state=state, cursor=cursor
    )
    kept = {"state": state} if state else {}
    return {
        "ticks": rows,
        "zone": found["zone"] or "UTC",
        "older": urlencode({**kept, "cursor": following}) if following else "",
        "newest": (urlencode(kept) or "state=") if cursor else "",
        "at": path("schedules", name),
        "ended": bool(cursor),
    }


async def backfill(ask: Ask, query: Query) -> Mapping[str, Any]:
    """A backfill and each of its nominal times."""
    found = await read_backfill(ask, query)
    return {"backfill": found, "ended": found["state"] in ENDED, "at": backfill_path(query)}


async def read_backfill(ask: Ask, query: Query) -> Row:
    """A backfill of this schedule; `NotFound` where there is none."""
    if not query["number"].isdecimal():
        raise NotFound(f"There is no backfill {query['number']}.")
    peer = ask.function(ledger.FUNCTION)
    found: Row = await peer.read(path("backfills", query["number"]))
    if found["schedule"] != query["name"]:
        raise NotFound(f"Backfill {query['number']} is of {found['schedule']}.")
    return found


def backfill_path(query: Query) -> str:
    return path("schedules", query["name"], "backfills", query["number"])


async def exists(ask: Ask, query: Query) -> None:
    """`NotFound` where neither a ledger nor a PingSource has this name."""
    if await ledger_of(ask, query["name"]) is None:
        await source_of(ask, query["name"])


def routes() -> list[Route]:
    parent = ("/schedules", "Schedules")
    return [
        *Page(
            "/schedules/{name}",
            "{name}",
            [
                Panel("schedule", "Status", status, live_s=10),
                Panel("following", "The next ten times", following, live_s=30),
                Panel(
                    "ticks",
                    "What became of each nominal time",
                    ticks,
                    live_s=10,
                    note="A nominal time is one at which its expression says that it is due.",
                ),
            ],
            parent=parent,
            head="heads/ticks.html",
            exists=exists,
        ).routes(),
        *Page(
            "/schedules/{name}/backfills/{number}",
            "Backfill {number} of {name}",
            [Panel("backfill", "Its nominal times", backfill, live_s=3)],
            parent=parent,
            exists=read_backfill,
        ).routes(),
    ]
