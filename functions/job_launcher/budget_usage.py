"""What groups have used of their budgets today, by the Jobs that were launched today.

Minutes are those of the Jobs, but for the time in which a queue has suspended one; money and tokens
are what agents report, while they work and at their end: of a Job at most what it was granted and a
little more, as an agent may report anything. What a Job was granted at its start and has not used
is reserved for it while it is active, and until what it has used is known.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from functions.events.agent import AgentUsage
from functions.job_launcher import facts
from functions.job_launcher.decide.budget import (
    MAX_COUNTED,
    UNITS,
    WARNS_AT,
    GroupBudget,
    Unit,
    limits_of,
    overspent,
)
from functions.job_launcher.routes.source import routes_of
from functions.job_launcher.tables import JobRow, changes_row, row_of
from functions.kit.context import Context
from functions.kit.durable import Connection

MAX_REPORTS = 100  # in one run, of requests that wait

# What a Job's end is reported within: longer than an agent takes that ignores its SIGTERM.
REPORTED_AFTER_S = 900

# Of one Job, by unit, as it is reported.
_USES: dict[Unit, str] = {
    "usd": "coalesce((usage->>'cost_usd')::float8, 0)",
    "tokens": "coalesce((usage->>'input_tokens')::float8, 0)"
    " + coalesce((usage->>'output_tokens')::float8, 0)",
    # `least` ignores null.
    "minutes": """coalesce(greatest(0, (extract(epoch FROM least(coalesce(ended_at, $1), paused_at)
        - started_at) - paused_s)::float8 / 60), 0)""",
}
USED = ", ".join(f"coalesce(sum({_USES[unit]}), 0) AS {unit}" for unit in UNITS)
# `least` ignores null: of a Job without a grant all counts.
_COUNTS = _USES | {
    unit: f"least({_USES[unit]}, (granted->>'{unit}')::float8 * {MAX_COUNTED})"
    for unit in UNITS
    if unit != "minutes"
}
_COUNTED = ", ".join(f"coalesce(sum({_COUNTS[unit]}), 0) AS {unit}" for unit in UNITS)
_ACTIVE = """state IN ('starting', 'running')
    OR (state = 'queued' AND launching_until > clock_timestamp())"""
# It has ended, and nothing has come yet of its outputs.
_UNREPORTED = f"""state IN ('succeeded', 'failed', 'cancelled') AND agent IS NULL
    AND approval IS NULL AND started_at IS NOT NULL
    AND jsonb_typeof(request->'workspace') = 'object'
    AND ended_at > $1 - interval '{REPORTED_AFTER_S} seconds'"""
# Minutes are known at the end.
_RESERVES = dict.fromkeys(UNITS, f"{_ACTIVE} OR ({_UNREPORTED})") | {"minutes": _ACTIVE}
_RESERVED = ", ".join(
    f"""coalesce(sum(greatest(0, (granted->>'{unit}')::float8 - ({_USES[unit]})))
        FILTER (WHERE {_RESERVES[unit]}), 0) AS reserved_{unit}"""
    for unit in UNITS
)


async def read(ctx: Context, connection: Connection) -> dict[str, GroupBudget]:
    """Return the budgets of the groups that wait or were at work today, by group."""
    budgets, now = ctx.part(routes_of).budgets(), ctx.now()
    found: dict[str, GroupBudget] = {}
    for zone in sorted({one.time_zone for one in budgets}):
        begin = next(one for one in budgets if one.time_zone == zone).day(now)[0]
        for row in await _used(connection, now, begin):
            limits = limits_of(row["group_name"], budgets)
            if limits is not None and limits.time_zone == zone:
                used: dict[Unit, float] = {unit: row[unit] for unit in UNITS}
                reserved: dict[Unit, float] = {unit: row[f"reserved_{unit}"] for unit in UNITS}
                group, ends_at = row["group_name"], limits.day(now)[1]
                found[group] = GroupBudget(group, limits, used, ends_at, reserved)
    return found


async def _used(connection: Connection, now: datetime, begin: datetime) -> list[Any]:
    found: list[Any] = await connection.fetch(
        f"""SELECT group_name, {_COUNTED}, {_RESERVED} FROM job
            WHERE group_name <> '' AND (launched_at >= $2 OR state = 'queued')
            GROUP BY group_name""",
        *(now, begin),
    )
    return found


def used_up(budgets: dict[str, GroupBudget]) -> list[GroupBudget]:
    """Return those of which nothing is left today."""
    return [one for one in budgets.values() if one.is_used_up()]


async def report_usage(tx: Connection, job_id: str, usage: AgentUsage) -> None:
    """Store what a Job's agent reports; it never becomes less, as reports may overtake another."""
    known = await tx.fetchval("SELECT usage FROM job WHERE id = $1 FOR UPDATE", job_id)
    stored = usage.max_with(AgentUsage.model_validate(known or {})).model_dump(mode="json")
    if any(value is not None for value in stored.values()):
        await tx.execute("UPDATE job SET usage = $2 WHERE id = $1", job_id, stored)


async def over_their_grant(ctx: Context, connection: Connection) -> list[tuple[JobRow, str]]:
    """Return the Jobs that have used more than they were granted, and how much."""
    rows = await connection.fetch(
        f"""SELECT *, {", ".join(f"{_USES[unit]} AS used_{unit}" for unit in UNITS)} FROM job
            WHERE state IN ('starting', 'running') AND cancel IS NULL AND granted IS NOT NULL
            AND agent IS NULL AND approval IS NULL  -- else its agent has ended
            ORDER BY position""",
        ctx.now(),
    )
    found = []
    for one in rows:
        row = row_of(one)
        used: dict[Unit, float] = {unit: one[f"used_{unit}"] for unit in UNITS}
        if why := overspent(row.granted or {}, used):
            found.append((row, f"{why} of the budget of group {row.request.group}"))
    return found


async def keep_waiting(ctx: Context) -> None:
    """Let the time that requests wait for their budget be none of the queue."""
    async with ctx.store.transaction() as tx:
        groups = [one.group for one in used_up(await read(ctx, tx))]
        if groups:
            await tx.execute(
                """UPDATE job SET waits_since = $2
                   WHERE state = 'queued' AND group_name = ANY($1)""",
                *(groups, ctx.now()),
            )


async def report(ctx: Context) -> None:
    """Emit, once a day, that a group has used most of its budget, and what waits for the next."""
    if not ctx.part(routes_of).budgets():
        return
    async with ctx.store.connection() as connection:
        budgets = await read(ctx, connection)
        waiting = [row_of(row) for row in await _held_rows(connection, budgets)]
        reached = [(one, unit) for one in budgets.values() for unit in one.reached(WARNS_AT)]
        known = {tuple(row) for row in await connection.fetch("SELECT * FROM budget_warning")}
    for one, unit in reached:
        if (one.group, unit, one.ends_at) not in known:
            await _warn(ctx, one, unit)
    for row in waiting:
        await _report_held(ctx, row, budgets[row.request.group])


async def _held_rows(connection: Connection, budgets: dict[str, GroupBudget]) -> list[Any]:
    groups = used_up(budgets)
    found: list[Any] = await connection.fetch(
        """SELECT job.* FROM job JOIN jsonb_to_recordset($1) AS held (name text, until timestamptz)
           ON group_name = name WHERE state = 'queued' AND approval IS NULL AND cancel IS NULL
           AND held_until IS DISTINCT FROM until ORDER BY position LIMIT $2""",
        *([{"name": one.group, "until": one.ends_at.isoformat()} for one in groups], MAX_REPORTS),
    )
    return found


async def _report_held(ctx: Context, row: JobRow, budget: GroupBudget) -> None:
    stage = f"held until {budget.ends_at.isoformat()}"
    async with facts.settled(ctx, row.request, stage) as settlement:
        if await changes_row(
            settlement.tx,
            """UPDATE job SET held_until = $2
               WHERE id = $1 AND state = 'queued' AND held_until IS DISTINCT FROM $2
               RETURNING true""",
            *(row.id, budget.ends_at),
        ):
            settlement.facts.append(facts.held(row.request, budget.reason(), budget.ends_at))


async def _warn(ctx: Context, budget: GroupBudget, unit: Unit) -> None:
    """Report it of the Job whose use is known last: its users are at work there.

    Use is known before what comes of a Job's outputs.
    """
    begin, _ = budget.limits.day(ctx.now())
    async with ctx.store.connection() as connection:
        found = await connection.fetchrow(
            """SELECT * FROM job WHERE group_name = $1 AND launched_at >= $2
               ORDER BY usage IS NULL, agent->>'settled_at' DESC NULLS FIRST, position DESC
               LIMIT 1""",
            *(budget.group, begin),
        )
    if found is None:
        return
    row = row_of(found)
    stage = f"budget {unit} until {budget.ends_at.isoformat()}"
    async with facts.settled(ctx, row.request, stage) as settlement:
        if await changes_row(
            settlement.tx,
            """INSERT INTO budget_warning VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
               RETURNING true""",
            *(budget.group, unit, budget.ends_at),
        ):
            settlement.facts.append(facts.budget_warned(row.request, budget, unit))
