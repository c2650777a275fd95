"""Every minute: whatever was missed is made good, and what waited is looked at again."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from functions.events.base import Event
from functions.job_launcher import cancellations, follow, launch, manifest, tables
from functions.job_launcher.decide import progress
from functions.job_launcher.settings import LauncherSettings
from functions.job_launcher.tables import Row
from functions.kit.context import Context
from functions.kit.durable.database import Connection
from functions.kit.errors import FunctionError

logger = logging.getLogger(__name__)

Jobs = dict[str, dict[str, Any]]


async def sweep(ctx: Context, tx: Connection) -> list[Event]:
    """Compare the open rows with Kubernetes' Jobs; expire, and launch what is due."""
    settings, now = ctx.settings(LauncherSettings), ctx.now()
    events: list[Event] = []
    try:
        async for event in _reconcile(ctx, tx):
            events.append(event)
    except FunctionError as error:
        # The next sweep is a minute away; the queue below says the same in its rows. What was
        # seen before the error is in its rows too, and so must be said.
        logger.warning("cannot compare with Kubernetes: %s", error)
    for row in await tables.queued_before(tx, now - timedelta(seconds=settings.job_queue_seconds)):
        words = f"it waited {settings.job_queue_seconds} s for its Job: {row.reason or 'no room'}"
        events += await follow.fail(ctx, tx, row, "NotLaunched", words)
    return events + await follow.launch_due(ctx, tx)


async def forget(ctx: Context) -> None:
    """Delete what is old; nobody who looks at the queue waits for it."""
    now = ctx.now()
    async with ctx.store.connection() as connection:
        days = ctx.settings(LauncherSettings).job_history_days
        await tables.forget(connection, now - timedelta(days=days))
        await cancellations.forget(connection, now - timedelta(days=1))


async def _reconcile(ctx: Context, tx: Connection) -> AsyncIterator[Event]:
    """The facts that nobody told, as they are found out; what time does not allow is for the next
    sweep."""
    jobs: Jobs = {
        str(job["metadata"]["name"]): job
        for job in await ctx.cluster.list(launch.BATCH, "jobs", manifest.SELECTOR)
    }
    rows = [*await tables.to_cancel(tx), *await tables.launched_open(tx)]
    for number, row in enumerate(rows):
        if number and ctx.left_s < follow.LEAST_S:
            return
        for event in await _compared(ctx, tx, row, jobs):
            yield event
    await _remove_leftovers(ctx, tx, jobs)
    for pod in await ctx.cluster.list("v1", "pods", manifest.SELECTOR):
        await follow.pod_seen(tx, pod)
    await _say_why_no_pod(ctx, tx)


async def _say_why_no_pod(ctx: Context, tx: Connection) -> None:
    """A quota or an admission that refuses a pod is told in an Event of its Job only."""
    unexplained = {row.id for row in await tables.launched_open(tx) if not row.reason}
    if not unexplained:
        return
    try:
        refusals = await launch.refused_pods(ctx.cluster)
    except FunctionError as error:
        logger.debug("cannot read the events of Jobs: %s", error)
        return
    for job_id in unexplained & refusals.keys():
        await tables.remark(tx, job_id, refusals[job_id])


async def _compared(ctx: Context, tx: Connection, row: Row, jobs: Jobs) -> list[Event]:
    if row.cancel is not None:
        return await follow.stop(ctx, tx, row, row.cancel, row.superseded_by)
    if row.id in jobs:
        if row.missed_at is not None:
            await tables.missed(tx, row.id, None)
        late = ctx.now() - timedelta(seconds=ctx.settings(LauncherSettings).job_start_seconds)
        if progress(jobs[row.id]).state == "starting" and (row.launched_at or late) < late:
            return await follow.not_started(ctx, tx, row)
        return await follow.seen(ctx, tx, jobs[row.id], deleted=False)
    # The event of its end may be on its way: it says more than that it is gone.
    if row.missed_at is None:
        await tables.missed(tx, row.id, ctx.now())
        return []
    words = "its Job is gone, and nobody saw how it ended"
    return await follow.fail(ctx, tx, row, "Gone", words)


async def _remove_leftovers(ctx: Context, tx: Connection, jobs: Jobs) -> None:
    """A Job still at work whose request was cancelled: the crash came between the two."""
    for job_id, state in (await tables.states(tx, list(jobs))).items():
        if state == "cancelled" and progress(jobs[job_id]).state in ("starting", "running"):
            logger.warning("job %s was cancelled and still runs: deleting it", job_id)
            await launch.stop(ctx.cluster, job_id)
