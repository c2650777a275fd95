"""Every minute: whatever was missed is made good, and what is old is forgotten."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from functions.job_launcher import cancellations, launch, manifest, queue, reconcile, tables
from functions.job_launcher.decide import progress
from functions.job_launcher.launching import MIN_S
from functions.job_launcher.settings import LauncherSettings
from functions.job_launcher.tables import Row
from functions.kit.context import Context
from functions.kit.errors import FunctionError

logger = logging.getLogger(__name__)

Jobs = dict[str, dict[str, Any]]


async def sweep(ctx: Context) -> None:
    """Compare the open rows with Kubernetes' Jobs, end what waited too long, forget what is old.

    Each row is settled by itself. What time does not allow is for the next sweep.
    """
    await _forget(ctx)
    try:
        await _compare(ctx)
    except FunctionError as error:
        logger.warning("cannot compare with Kubernetes: %s", error)
    await _expire(ctx)


async def _forget(ctx: Context) -> None:
    now = ctx.now()
    async with ctx.store.connection() as connection:
        days = ctx.settings(LauncherSettings).job_history_days
        await tables.forget(connection, now - timedelta(days=days))
        await cancellations.forget(connection, now - timedelta(days=1))


async def _expire(ctx: Context) -> None:
    limit_s = ctx.settings(LauncherSettings).job_queue_seconds
    async with ctx.store.connection() as connection:
        rows = await queue.waiting_since(connection, ctx.now() - timedelta(seconds=limit_s))
    for row in rows:
        words = f"it waited {limit_s} s for its Job: {row.reason or 'no room'}"
        await reconcile.fail(ctx, row, "NotLaunched", words)


async def _compare(ctx: Context) -> None:
    # The rows first: what has been launched by then is in the list.
    async with ctx.store.connection() as connection:
        rows = await tables.launched_open(connection)
    jobs: Jobs = {
        str(job["metadata"]["name"]): job
        for job in await ctx.cluster.list(launch.BATCH, "jobs", manifest.SELECTOR)
    }
    for number, row in enumerate(rows):
        if number and ctx.left_s < MIN_S:
            return
        try:
            await _compared(ctx, row, jobs)
        except FunctionError:
            raise
        except Exception:
            logger.exception("job %s: it is compared again with the next sweep", row.id)
    await _remove_leftovers(ctx, jobs)
    await _say_why_none_runs(ctx)


async def _compared(ctx: Context, row: Row, jobs: Jobs) -> None:
    if row.id in jobs:
        if row.missed_at is not None:
            await _missed(ctx, row, missed=False)
        late = ctx.now() - timedelta(seconds=ctx.settings(LauncherSettings).job_start_seconds)
        if progress(jobs[row.id]).state == "starting" and (row.launched_at or late) < late:
            await reconcile.not_started(ctx, row)
        else:
            await reconcile.seen(ctx, row, jobs[row.id])
    elif row.missed_at is None:
        # The watch may be about to say how it ended: that is more than that it is gone.
        await _missed(ctx, row, missed=True)
    else:
        words = "its Job is gone, and nobody saw how it ended"
        await reconcile.fail(ctx, row, "Gone", words)


async def _missed(ctx: Context, row: Row, *, missed: bool) -> None:
    async with ctx.store.connection() as connection:
        await tables.missed(connection, row.id, ctx.now() if missed else None)


async def _remove_leftovers(ctx: Context, jobs: Jobs) -> None:
    """A Job still at work whose request has ended: the crash came between the two."""
    async with ctx.store.connection() as connection:
        states = await tables.states(connection, list(jobs))
    for job_id, state in states.items():
        at_work = progress(jobs[job_id]).state in ("starting", "running")
        if at_work and state in ("cancelled", "failed"):
            logger.warning("job %s is %s and still at work: deleting it", job_id, state)
            await launch.stop(ctx.cluster, job_id)


async def _say_why_none_runs(ctx: Context) -> None:
    """Why Jobs do not start: their pods say so, or, where a pod was refused, only an Event."""
    pods = await ctx.cluster.list("v1", "pods", manifest.SELECTOR)
    async with ctx.store.connection() as connection:
        rows = {row.id: row for row in await tables.launched_open(connection)}
    for pod in pods:
        row = rows.get(manifest.job_name_of(pod))
        if row is not None:
            await reconcile.pod_seen(ctx, row, pod)
    async with ctx.store.connection() as connection:
        unexplained = {r.id for r in await tables.launched_open(connection) if not r.reason}
    if not unexplained:
        return
    try:
        refusals = await launch.refused_pods(ctx.cluster)
    except FunctionError as error:
        logger.debug("cannot read the events of Jobs: %s", error)
        return
    async with ctx.store.connection() as connection:
        for job_id in unexplained & refusals.keys():
            await tables.remark(connection, job_id, refusals[job_id])
