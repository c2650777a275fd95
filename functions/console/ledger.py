"""The scheduler's ledger: what became of each nominal time of a schedule that has policies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from itertools import chain

from functions.console.ask import Ask, Row
from functions.console.formatting import clock, instant
from functions.console.ping_sources import GRACE
from functions.kit.clients import path

FUNCTION = "scheduler"
STATES = ("due", "sent", "running", "done", "failed", "skipped", "missed")
UNSUCCESSFUL = ("failed", "missed")
MAX_TICKS = 1000  # of one page of the scheduler

Status = tuple[str, str]  # a state and its detail


async def schedules(ask: Ask) -> dict[str, Row]:
    """The schedules that have a ledger, by name, each with its next time."""
    found: dict[str, Row] = {}
    cursor = None
    while True:
        answer = await ask.function(FUNCTION).read("/schedules", limit=1000, cursor=cursor)
        found |= {row["name"]: row for row in answer["schedules"]}
        cursor = answer["next"]
        if cursor is None:
            return found


async def schedule(ask: Ask, name: str) -> Row:
    """One schedule with its next ten times; `NotFound` where it has no ledger."""
    found: Row = await ask.function(FUNCTION).read(path("schedules", name))
    return found


async def ticks(ask: Ask, limit: int = MAX_TICKS, **query: object) -> list[Row]:
    """Nominal times and what became of them, the latest first."""
    return (await page_of_ticks(ask, limit, **query))[0]


async def page_of_ticks(ask: Ask, limit: int, **query: object) -> tuple[list[Row], str]:
    """One page of them, and the cursor of the following one; empty on the last page."""
    answer = await ask.function(FUNCTION).read("/ticks", limit=limit, **query)
    return answer["ticks"], answer["next"] or ""


async def unsuccessful(ask: Ask, since: datetime) -> dict[str, list[Row]]:
    """The nominal times that failed or were missed, by schedule, the latest first."""
    pages = await asyncio.gather(
        *(ticks(ask, state=state, since=since.isoformat()) for state in UNSUCCESSFUL)
    )
    found: dict[str, list[Row]] = {}
    for tick in sorted(chain(*pages), key=lambda tick: str(tick["nominal"]), reverse=True):
        found.setdefault(tick["schedule"], []).append(tick)
    return found


async def latest_ticks(ask: Ask) -> list[Row]:
    """The run of each schedule's latest tick in every function that shares its database."""
    found: list[Row] = []
    cursor = None
    while True:
        answer = await ask.function(FUNCTION).read("/ticks/latest", cursor=cursor)
        found += answer["runs"]
        cursor = answer["next"]
        if cursor is None:
            return found


def overdue(schedule: Row, now: datetime) -> datetime | None:
    """When a tick was due that was not sent; one that waits for its turn is not overdue.

    >>> tick = {"nominal": "2026-03-02T14:00:00Z", "due_at": "2026-03-02T14:00:00Z"}
    >>> schedule = {"open": [tick | {"state": "due", "cause": ""}]}
    >>> print(overdue(schedule, datetime.fromisoformat("2026-03-02T15:00Z")))
    2026-03-02 14:00:00+00:00
    >>> overdue(schedule, datetime.fromisoformat("2026-03-02T14:05Z"))
    """
    for tick in schedule["open"]:
        due = instant(tick["due_at"])
        waits = tick["state"] != "due" or tick["cause"] == "waiting"
        if due and not waits and due + GRACE < now:
            return instant(tick["nominal"])
    return None


async def statuses_of_day(ask: Ask, since: datetime, before: datetime) -> dict[str, Status]:
    """The status of a day, between two instants, of each schedule with a nominal time on it."""
    known, rows = await asyncio.gather(
        schedules(ask), ticks(ask, since=since.isoformat(), before=before.isoformat())
    )
    found = {}
    for name, one in known.items():
        mine = [tick for tick in rows if tick["schedule"] == name]
        coming = [tick for tick in one["next"] if _is_between(tick, since, before)]
        if mine or coming:
            found[name] = status_of_day(mine, coming, ask.ctx.now())
    return found


def _is_between(tick: Row, since: datetime, before: datetime) -> bool:
    at = instant(tick["nominal"])
    return at is not None and since <= at < before


def status_of_day(ticks: Sequence[Row], coming: Sequence[Row], now: datetime) -> Status:
    """A schedule's day by its ticks, the latest first, and those that come: state and detail.

    A later tick that is done makes good one that failed or was missed.

    >>> now = datetime.fromisoformat("2026-03-02T15:00Z")
    >>> tick = {"nominal": "2026-03-02T14:00:00Z", "due_at": "2026-03-02T14:00:00Z", "reason": ""}
    >>> status_of_day([tick | {"state": "missed", "reason": "nothing looked"}], [], now)
    ('failed', '14:00 UTC was missed: nothing looked')
    >>> status_of_day([tick | {"state": "skipped", "reason": "Labor Day"}], [], now)
    ('not due', '14:00 UTC was skipped: Labor Day')
    """
    for tick in ticks:
        state, at = tick["state"], f"{clock(tick['nominal'])[:5]} UTC"
        because = f": {tick['reason']}" if tick["reason"] else ""
        if state == "done":
            return "ok", ""
        if state in UNSUCCESSFUL:
            return "failed", f"{at} {'was missed' if state == 'missed' else 'failed'}{because}"
        if state in ("sent", "running"):
            return "running", f"the run for {at} is under way"
        if state == "due":
            late = overdue({"open": [{"cause": "", **tick}]}, now)
            return ("failed", f"was due at {at} and has not run") if late else _due(tick)
    if coming_today := [tick for tick in coming if tick["state"] == "due"]:
        return _due(coming_today[0])
    tick = (*ticks, *coming)[0]
    return "not due", f"{clock(tick['nominal'])[:5]} UTC was skipped: {tick['reason']}"


def _due(tick: Row) -> Status:
    return "waiting", f"due at {clock(tick['due_at'])[:5]} UTC"
