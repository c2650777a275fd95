"""Schedules: what is coming, and whether all that was due was handled.

The scheduler's ledger knows both of a schedule that has policies. Of any other one the PingSource
and the functions' records of runs tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from starlette.routing import Route

from functions.console import ledger
from functions.console.ask import Ask, Row
from functions.console.formatting import instant
from functions.console.pages import Page
from functions.console.panels import Panel, Query
from functions.console.ping_sources import (
    OWN_RECORD,
    TICK,
    cron_of,
    described,
    name_of,
    overdue,
    sources_of,
)
from functions.kit.errors import FunctionError

# For so long a nominal time that failed or was missed needs attention.
LOOKED_BACK = timedelta(days=7)
SHOWN_TICKS = 50


async def every(ask: Ask, query: Query) -> Mapping[str, Any]:
    rows, away = await statuses(ask, with_last_tick=True)
    rows.sort(key=lambda row: row["next"] or ask.ctx.now() + timedelta(days=3650))
    since = ask.ctx.now() - LOOKED_BACK
    kept = [row["ledger"] for row in rows if row["ledger"]]
    known = known_since(rows, since)
    is_all_newer = bool(kept) and sum(map(len, known.values())) == len(kept)
    begun = min(known) if is_all_newer else since
    tone, *sentence = verdict(rows, since)
    return {
        "schedules": rows,
        "away": away,
        "verdict": ("calm" if is_all_newer and tone == "good" else tone, *sentence),
        "is_young": is_all_newer,
        "begun": begun,
        "until": max(begun, handled_until(rows, ask.ctx.now())),
        "known": {at: names for at, names in known.items() if at > begun},
    }


def handled_until(rows: Sequence[Row], now: datetime) -> datetime:
    """The last whole minute of which the runs of all that was due are on record.

    >>> now = datetime.fromisoformat("2026-03-02T14:05:02Z")
    >>> sweep = {"cron": "* * * * *", "zone": "UTC", "ledger": None, "problem": ""}
    >>> print(handled_until([sweep | {"last": {"ended_at": "2026-03-02T14:03:01Z"}}], now))
    2026-03-02 14:03:00+00:00
    >>> print(handled_until([sweep | {"last": {"ended_at": "2026-03-02T14:05:01Z"}}], now))
    2026-03-02 14:05:00+00:00
    """
    minute = timedelta(minutes=1)
    until = now.replace(second=0, microsecond=0)
    for row in rows:
        open_ticks = (row["ledger"] or {}).get("open", [])
        due = [instant(tick["nominal"]) for tick in open_ticks]
        ended = instant((row.get("last") or {}).get("ended_at"))
        if ended and not row["problem"]:
            last = ended.replace(second=0, microsecond=0)
            due.append(cron_of({"schedule": row["cron"], "timezone": row["zone"]}).after(last))
        until = min([until, *(at - minute for at in due if at and at <= until)])
    return until


async def week(ask: Ask, query: Query) -> Mapping[str, Any]:
    """A page of what was due in the last days of all schedules with a ledger, the latest first."""
    now, cursor = ask.ctx.now(), query.get("cursor") or None
    ticks, following = await ledger.page_of_ticks(
        ask,
        SHOWN_TICKS,
        not_origin="user",
        since=(now - LOOKED_BACK).isoformat(),
        before=now.isoformat(),
        cursor=cursor,
    )
    known = [] if ticks or cursor else [*(await ledger.schedules(ask)).values()]
    begun = [instant(one["known_since"]) for one in known]
    return {
        "ticks": ticks,
        "begun": max([now - LOOKED_BACK, *(at for at in begun if at)]),
        "names": [one["name"] for one in known],
        "older": urlencode({"cursor": following}) if following else "",
        "newest": "cursor=" if cursor else "",
        "ended": bool(cursor),
    }


def known_since(rows: Sequence[Row], since: datetime) -> dict[datetime, list[str]]:
    """The schedules of which the ledger does not know all since then, by when it began."""
    found: dict[datetime, list[str]] = {}
    for row in rows:
        begun = instant((row["ledger"] or {}).get("known_since"))
        if begun is not None and begun > since:
            found.setdefault(begun, []).append(row["name"])
    return found


def verdict(rows: Sequence[Row], since: datetime) -> tuple[str, str, str]:
    """A tone and a sentence, whose two halves have the time between them: was everything handled
    that was due since then?

    >>> monday = datetime.fromisoformat("2026-03-02T00:00Z")
    >>> ran = {"last_due": "2026-03-03T14:00:00Z"}
    >>> well = {"name": "a", "overdue": None, "unknown": False, "unsuccessful": [], "ledger": ran}
    >>> verdict([well], monday)
    ('good', 'All that was due', ' was handled.')
    >>> verdict([well, well | {"name": "b", "ledger": {"last_due": None}}], monday)[2]
    ' was handled. Nothing was due of b.'
    >>> verdict([well | {"unsuccessful": [{"state": "missed"}]}], monday)[1:]
    ('Not everything that was due', ' was handled: a (1 missed).')
    >>> verdict([well | {"last_tick": {"state": "sent"}}], monday)[1:]
    ('Under way: a; all else that was due', ' was handled.')
    >>> verdict([well | {"not_followed": "annotation schedules.dsm.io/gap: ..."}], monday)[2]
    ' was handled: a (not followed).'
    """
    if late := [f"{row['name']} ({why_late(row)})" for row in rows if needs_attention(row)]:
        return "bad", "Not everything that was due", f" was handled: {', '.join(late)}."
    unknown = [row["name"] for row in rows if row["unknown"]]
    running = [row["name"] for row in rows if is_under_way(row.get("last_tick"))]
    for names, what in ((unknown, "Nothing is known of "), (running, "Under way: ")):
        if names:
            return "wait", f"{what}{', '.join(names)}; all else that was due", " was handled."
    idle = [row["name"] for row in rows if row["ledger"] and not was_due(row["ledger"], since)]
    if len(idle) == len(rows):
        return "wait", "Nothing was due", "."
    rest = f" Nothing was due of {', '.join(idle)}." if idle else ""
    return "good", "All that was due", f" was handled.{rest}"


def was_due(kept: Row, since: datetime) -> bool:
    """Has a nominal time of the ledger come since then? A user's run is none."""
    due = instant(kept["last_due"])
    return due is not None and due > since


def is_under_way(tick: Row | None) -> bool:
    """Was a tick sent whose function has not ended it?"""
    return tick is not None and tick["state"] in ("sent", "running")


def needs_attention(row: Row) -> bool:
    return bool(
        row["overdue"] or row["unsuccessful"] or paused_by_failures(row) or row.get("not_followed")
    )


def paused_by_failures(row: Row) -> str:
    """Why the scheduler itself has paused it, which only a user ends; empty where it has not."""
    pause = (row.get("ledger") or {}).get("pause") or {}
    return str(pause["reason"]) if pause.get("by") == "scheduler" else ""


def why_late(row: Row) -> str:
    """What is overdue, was missed or failed, in a few words."""
    states = [tick["state"] for tick in row["unsuccessful"]]
    parts = ["overdue"] if row["overdue"] else []
    parts += ["paused"] if paused_by_failures(row) else []
    parts += ["not followed"] if row.get("not_followed") else []
    parts += [f"{states.count(s)} {s}" for s in ("missed", "failed") if s in states]
    return ", ".join(parts)


async def statuses(ask: Ask, *, with_last_tick: bool = False) -> tuple[list[Row], dict[str, str]]:
    """Every schedule with its next time, and what of the last days went wrong.

    The last tick of each in the ledger is a read of its own.

    Beside them the functions that did not answer, each with the reason: of a schedule that one
    of them may have handled nothing is known.
    """
    sources = await sources_of(ask)
    kept, (last, away) = await asyncio.gather(_kept(ask, with_last_tick), _last_ticks(ask, sources))
    if isinstance(kept, str):
        away[ledger.FUNCTION], kept = kept, {}
    rows = []
    for source in sources:
        row = described(source, ask.ctx.now()) | {"unsuccessful": [], "ledger": None}
        name = row["name"]
        if name in kept:
            rows.append(row | kept[name])
            continue
        row["last"] = last.get(name)
        row["unknown"] = OWN_RECORD.get(name, ledger.FUNCTION) in away
        known = not row["unknown"]
        row["overdue"] = overdue(source, row["last"], ask.ctx.now()) if known else None
        rows.append(row)
    return rows, away


async def _last_ticks(ask: Ask, sources: Sequence[Row]) -> tuple[dict[str, Row], dict[str, str]]:
    """Each schedule's last tick that a function has handled, and the functions that are away."""
    away: dict[str, str] = {}

    async def of(function: str, read: Awaitable[list[Row]]) -> list[Row]:
        try:
            return await read
        except FunctionError as error:
            away[function] = error.detail
            return []

    own = {OWN_RECORD[name] for name in map(name_of, sources) if name in OWN_RECORD}
    found: dict[str, Row] = {}
    for runs in await asyncio.gather(
        of(ledger.FUNCTION, ledger.latest_ticks(ask)),
        *(of(name, ask.runs(name, type=TICK, latest="true", limit=1000)) for name in sorted(own)),
    ):
        for run in sorted(runs, key=lambda run: str(run["ended_at"])):
            found[str(run["id"]).partition("@")[0]] = run
    return found, away


async def _kept(ask: Ask, with_last_tick: bool) -> dict[str, Row] | str:
    """What the ledger tells of each of its schedules; the reason where it does not answer."""
    now = ask.ctx.now()
    try:
        found, unsuccessful = await asyncio.gather(
            ledger.schedules(ask), ledger.unsuccessful(ask, now - LOOKED_BACK)
        )
        last = await asyncio.gather(
            *(
                ledger.ticks(ask, 1, schedule=name, before=now.isoformat())
                for name in (found if with_last_tick else ())
            )
        )
    except FunctionError as error:
        return error.detail
    newest = {tick["schedule"]: tick for ticks in last for tick in ticks}
    return {
        name: {
            "ledger": one,
            "next": instant(one["next"][0]["nominal"]) if one["next"] else None,
            "coming": one["next"][0] if one["next"] else None,
            "last_tick": newest.get(name),
            "overdue": ledger.overdue(one, now),
            "unsuccessful": unsuccessful.get(name, []),
            "unknown": False,
            "problem": one["problem"],
            "not_followed": one["problem"],
        }
        for name, one in found.items()
    }


def routes() -> list[Route]:
    return Page(
        "/schedules",
        "Schedules",
        [
            Panel("schedules", "The next one first", every, live_s=10),
            Panel("week", "Due in the last seven days", week, live_s=30),
        ],
        lead="What happens by itself, each in the time zone of its schedule.",
    ).routes()
