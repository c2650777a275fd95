"""What groups have used of their budgets today, by the Jobs that were launched today.

Minutes are those of the Jobs; money and tokens are what agents report with their outputs, so a Job
that runs counts by its minutes alone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from functions.job_launcher import facts
from functions.job_launcher.budget import UNITS, WARNS_AT, GroupBudget, Unit, limits_of
from functions.job_launcher.routes.source import routes_of
from functions.job_launcher.tables import JobRow, changes_row, row_of
from functions.kit.context import Context
from functions.kit.durable import Connection

MAX_REPORTS = 100  # in one run, of requests that wait

USAGE = "coalesce(agent->'usage', approval_details->'usage')"
USED = f"""coalesce(sum(({USAGE}->>'cost_usd')::float8), 0) AS usd,
    coalesce(sum(coalesce(({USAGE}->>'input_tokens')::float8, 0)
                 + coalesce(({USAGE}->>'output_tokens')::float8, 0)), 0) AS tokens,
    coalesce(sum(extract(epoch FROM coalesce(ended_at, $1) - started_at)::float8 / 60), 0)
        AS minutes"""


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
                ends_at = limits.day(now)[1]
                found[row["group_name"]] = GroupBudget(row["group_name"], limits, used, ends_at)
    return found


async def _used(connection: Connection, now: datetime, begin: datetime) -> list[Any]:
    found: list[Any] = await connection.fetch(
        f"""SELECT group_name, {USED} FROM job
            WHERE group_name <> '' AND launched_at >= $2 GROUP BY group_name
            UNION ALL
            SELECT DISTINCT group_name, 0.0, 0.0, 0.0 FROM job AS waiting
            WHERE group_name <> '' AND state = 'queued' AND NOT EXISTS (
                SELECT FROM job WHERE group_name = waiting.group_name AND launched_at >= $2)""",
        *(now, begin),
    )
    return found


def held(budgets: dict[str, GroupBudget]) -> dict[str, str]:
    """Return why no Job starts, by group."""
    return {group: reason for group, one in budgets.items() if (reason := one.reason())}


async def keep_waiting(ctx: Context) -> None:
    """Let the time that requests wait for their budget be none of the queue."""
    async with ctx.store.transaction() as tx:
        groups = list(held(await read(ctx, tx)))
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
    groups = [budgets[group] for group in held(budgets)]
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
    """Report it of the Job whose use is known last: its users are at work there."""
    begin, _ = budget.limits.day(ctx.now())
    async with ctx.store.connection() as connection:
        found = await connection.fetchrow(
            """SELECT * FROM job WHERE group_name = $1 AND launched_at >= $2
               ORDER BY agent->>'settled_at' DESC NULLS LAST, position DESC LIMIT 1""",
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
