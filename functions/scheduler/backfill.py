"""Backfills: nominal times of a range, run in order, so many at once, until all have ended.

Each wake-up goes on where the rows say that the last one was: one that was killed loses nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from functions.kit import cloudevents
from functions.kit.durable import Rule, UserAction, record_action, rule
from functions.kit.errors import Conflict, NotFound, PermanentError
from functions.kit.telemetry import trace
from functions.scheduler import schedule_rows, tick_rows
from functions.scheduler.decide.backfill import Item, Which, plan
from functions.scheduler.decide.tick import Origin, State, Tick
from functions.scheduler.schedule_rows import Ledger
from functions.scheduler.settings import SchedulerSettings
from functions.scheduler.tick_rows import Change
from functions.scheduler.wake import message_of

if TYPE_CHECKING:
    from functions.kit.context import Context
    from functions.kit.durable import Connection

logger = logging.getLogger(__name__)

MAX_ITEMS = 10_000


class BackfillState(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    CANCELLED = "cancelled"


_RUNS_AGAIN = (State.SKIPPED, State.MISSED, State.FAILED)


def retention(ctx: Context) -> Sequence[Rule]:
    """Nominal times that have an end, and backfills that have ended."""
    days = ctx.settings(SchedulerSettings).tick_retention_days
    return (
        rule("tick", "nominal", days, "state NOT IN ('due', 'sent', 'running')"),
        rule("backfill", "changed_at", days, "state IN ('done', 'cancelled')"),
    )


async def planned(
    connection: Connection, schedule: str, since: datetime, before: datetime, which: Which
) -> list[Item]:
    """What a backfill would do with each nominal time of a range."""
    versions = await schedule_rows.versions(connection, schedule)
    rows = await tick_rows.between(connection, schedule, since, before)
    items = plan(versions, {tick.nominal: tick for tick in rows}, since, before, which)
    if len(items) > MAX_ITEMS:
        raise PermanentError(
            f"before: the range has {len(items)} times, the maximum is {MAX_ITEMS}"
        )
    return items


async def begin(
    ctx: Context,
    schedule: str,
    since: datetime,
    before: datetime,
    which: Which,
    at_once: int,
    by: str,
    reason: str = "",
) -> int:
    """Record a backfill; returns its number. The next wake-up begins it."""
    async with ctx.store.transaction() as tx:
        items = await planned(tx, schedule, since, before, which)
        number: int = await tx.fetchval(
            """INSERT INTO backfill (schedule, since, before, which, at_once, state, requested_by,
                                     made_at, changed_at, changed_by)
               VALUES ($1, $2, $3, $4, $5, 'running', $6, $7, $7, $6) RETURNING number""",
            *(schedule, since, before, which, at_once, by, ctx.now()),
        )
        await tx.execute(
            "INSERT INTO backfill_item (backfill, nominal) SELECT $1, unnest($2::timestamptz[])",
            *(number, [item.nominal for item in items if item.runs]),
        )
        done = UserAction(by, "began", f"backfill {number} of {schedule}", reason)
        await record_action(tx, ctx.function, done, ctx.now())
    logger.info("backfill", extra={"fields": {"number": number, "schedule": schedule, "by": by}})
    return number


async def change(ctx: Context, number: int, state: str, by: str, reason: str = "") -> None:
    """Pause, resume (`running`) or cancel a backfill that has not ended."""
    async with ctx.store.transaction() as tx:
        changed = await tx.fetchval(
            """UPDATE backfill SET state = $2, changed_at = $3, changed_by = $4
               WHERE number = $1 AND state IN ('running', 'paused') RETURNING true""",
            *(number, state, ctx.now(), by),
        )
        if changed:
            action = "resumed" if state == "running" else state
            done = UserAction(by, action, f"backfill {number}", reason)
            await record_action(tx, ctx.function, done, ctx.now())
    if not changed:
        found = await read(ctx, number)
        raise Conflict(f"backfill {number} is {found['state']}")


async def listed(
    connection: Connection,
    *,
    schedule: str | None = None,
    state: str | None = None,
    before: int | None = None,
    limit: int = 30,
) -> list[dict[str, Any]]:
    """Backfills, the newest first, each with how many times it has and how many were sent."""
    rows = await connection.fetch(
        """SELECT backfill.*, items.*
           FROM (SELECT * FROM backfill
                 WHERE ($1::text IS NULL OR schedule = $1) AND ($2::text IS NULL OR state = $2)
                 AND ($3::bigint IS NULL OR number < $3) ORDER BY number DESC LIMIT $4) AS backfill
           CROSS JOIN LATERAL (
               SELECT count(*) AS times, count(*) FILTER (WHERE sent) AS sent
               FROM backfill_item WHERE backfill = number) AS items
           ORDER BY number DESC""",
        *(schedule, state, before, limit),
    )
    return [dict(row) for row in rows]


async def read(ctx: Context, number: int) -> dict[str, Any]:
    """A backfill and each of its nominal times, with what has become of it."""
    async with ctx.store.connection() as connection:
        row = await connection.fetchrow("SELECT * FROM backfill WHERE number = $1", number)
        if row is None:
            raise NotFound(f"no backfill {number}")
        items = await connection.fetch(
            """SELECT item.nominal, CASE WHEN sent THEN state ELSE 'waiting' END AS state,
                      CASE WHEN sent THEN reason ELSE '' END AS reason
               FROM backfill_item AS item
               LEFT JOIN tick ON tick.schedule = $2 AND tick.nominal = item.nominal
               WHERE backfill = $1 ORDER BY item.nominal""",
            *(number, row["schedule"]),
        )
    return {**row, "items": [dict(item) for item in items]}


async def proceed(ctx: Context, now: datetime) -> int:
    """Send what is next of each backfill; returns how many are still running."""
    async with ctx.store.connection() as connection:
        numbers = await connection.fetch(
            "SELECT number FROM backfill WHERE state = 'running' ORDER BY number"
        )
    ended = [await _proceed(ctx, row["number"], now) for row in numbers]
    return ended.count(False)


async def _proceed(ctx: Context, number: int, now: datetime) -> bool:
    """Send the next times of one backfill; True where all have ended."""
    durable, sent = ctx.resources.durable, list[cloudevents.Message]()
    async with ctx.store.transaction() as tx:
        row = await tx.fetchrow(
            "SELECT * FROM backfill WHERE number = $1 AND state = 'running' FOR UPDATE", number
        )
        if row is None:
            return True  # another process has ended it
        name = row["schedule"]
        # Another decision about the schedule meanwhile waits, or finds another revision.
        await tx.execute("UPDATE schedule SET revision = revision + 1 WHERE name = $1", name)
        ledger = await schedule_rows.whole(tx, name)
        items = await tx.fetch(
            """SELECT item.nominal, item.sent, tick.state FROM backfill_item AS item
               LEFT JOIN tick ON tick.schedule = $2 AND tick.nominal = item.nominal
               WHERE backfill = $1 ORDER BY item.nominal""",
            *(number, name),
        )
        running = sum(one["sent"] and one["state"] in ("sent", "running") for one in items)
        waiting = [one for one in items if not one["sent"]]
        chosen = waiting[: max(0, row["at_once"] - running)] if ledger else []
        if ledger is not None and chosen:
            sent = await _send(tx, ledger, row, chosen, now)
        done = not running and not waiting
        if done:
            await tx.execute(
                "UPDATE backfill SET state = 'done', changed_at = $2 WHERE number = $1", number, now
            )
        entries = await durable.put(tx, ctx.function, trace.created(sent))
    durable.deliver(entries)
    return done


async def _send(
    tx: Connection, ledger: Ledger, row: Any, chosen: list[Any], now: datetime
) -> list[cloudevents.Message]:
    """Write the chosen times as sent, and return their events; what ran meanwhile is left."""
    reason = f"backfill {row['number']} by {row['requested_by']}"
    ticks = [
        Tick(one["nominal"], one["nominal"], State.SENT, Origin.BACKFILL, reason)
        for one in chosen
        if one["state"] is None or one["state"] in _RUNS_AGAIN
    ]
    await tx.execute(
        """UPDATE backfill_item SET sent = true
           WHERE backfill = $1 AND nominal = ANY ($2::timestamptz[])""",
        *(row["number"], [one["nominal"] for one in chosen]),
    )
    nominal = frozenset(tick.nominal for tick in ticks)
    known = ledger.schedule
    change = Change(
        *(known.name, ledger.revision, known.reconciled_until, ticks, known.pause),
        sent=nominal,
        requested_by=row["requested_by"],
    )
    await tick_rows.write(tx, [(change, tick) for tick in ticks], now)
    return [message_of(ledger, tick, change, now) for tick in ticks]
