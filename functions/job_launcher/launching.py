"""Make the Jobs of what waits, as the limits allow, and stop what is to be stopped.

A request is leased in one short transaction, its Job is made with no transaction open, and another
one records what came of it. A process that dies leaves a lease that ends; making a Job again finds
the one that was made.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from functions.job_launcher import launch, queue, reconcile, tables
from functions.job_launcher.decide import look_at_queue
from functions.job_launcher.facts import settled
from functions.job_launcher.settings import LauncherSettings
from functions.job_launcher.tables import Row
from functions.kit.context import Context

logger = logging.getLogger(__name__)

MAX_BATCH = 20  # requests leased at once
MAX_REFUSALS = 10  # by admission, a minute apart
MIN_S = 5.0  # what a Job needs to be made, or its end to be read
LOCK_TIMEOUT_S = 10.0


async def launch_batch(ctx: Context) -> bool:
    """Make the Jobs that the limits allow, oldest first; False where none is due."""
    rows = await _lease(ctx)
    held: set[str] = set()  # groups whose oldest must wait: the others may not overtake it
    left = [row.id for row in rows]
    for number, row in enumerate(rows):
        if number and ctx.left_s < MIN_S:
            break
        if row.request.group and row.request.group in held:
            continue
        left.remove(row.id)
        outcome = await _make(ctx, row)
        if isinstance(outcome, launch.Waits):
            held.add(row.request.group)
            if outcome.all_do:
                await _wait(ctx, left, outcome)
                left.clear()
                break
    if left:
        async with ctx.store.connection() as connection:
            await queue.release(connection, left)
    return bool(rows)


async def stop_all(ctx: Context) -> None:
    """Stop what somebody cancelled while Kubernetes had, or was to have, its Job."""
    async with ctx.store.connection() as connection:
        rows = await tables.to_cancel(connection)
    for number, row in enumerate(rows):
        if number and ctx.left_s < MIN_S:
            return
        await reconcile.stop(ctx, row)


async def _lease(ctx: Context) -> list[Row]:
    settings = ctx.settings(LauncherSettings)
    async with ctx.store.transaction() as tx:
        await queue.lock(tx, LOCK_TIMEOUT_S)
        found = look_at_queue(
            await queue.waiting(tx),
            await queue.active(tx),
            settings.job_concurrency,
            ctx.now(),
            group_limit=settings.job_group_concurrency,
        )
        # Longer than any work on it: no other process takes it meanwhile.
        lease_s = float(ctx.resources.process.timeout_seconds)
        return await queue.lease(tx, found.due[:MAX_BATCH], lease_s)


async def _make(ctx: Context, row: Row) -> launch.Outcome:
    try:
        outcome = await launch.make(ctx.cluster, row.request)
    except Exception as error:
        # Whatever is wrong with one request: the others go on.
        logger.exception("job %s cannot be made", row.id)
        outcome = launch.Denied(f"{type(error).__name__}: {error}", 60)
    match outcome:
        case launch.Made():
            if outcome.adopted:
                logger.info("adopted job %s: it was there already", row.id)
            async with settled(ctx, row.request) as settlement:
                await queue.launched(settlement.tx, row.id, ctx.now())
        case launch.Refused():
            await reconcile.fail(ctx, row, "Refused", outcome.message)
        case launch.Denied() if row.refusals + 1 >= MAX_REFUSALS:
            await reconcile.fail(ctx, row, "Refused", outcome.message)
        case launch.Waits():
            logger.warning("job %s waits: %s", row.id, outcome.message)
            await _wait(ctx, [row.id], outcome)
    return outcome


async def _wait(ctx: Context, ids: list[str], outcome: launch.Waits) -> None:
    until = ctx.now() + timedelta(seconds=outcome.delay_s)
    denied = isinstance(outcome, launch.Denied)
    async with ctx.store.connection() as connection:
        await queue.waits(connection, ids, outcome.message, until, denied=denied)
