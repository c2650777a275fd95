"""The sweep of each minute: reconcile what a watch missed."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from functions.job_launcher import budget_usage, queue, tables
from functions.job_launcher.commands import approvals
from functions.job_launcher.controller import places, reconcile
from functions.job_launcher.controller.launching import MIN_REMAINING_S
from functions.job_launcher.decide.job_status import job_status, outlasts_grace, waits_for_admission
from functions.job_launcher.kubernetes import job_calls, manifest
from functions.job_launcher.kubernetes.workspace import AGENT_GRACE_S
from functions.job_launcher.settings import LauncherSettings
from functions.job_launcher.tables import JobRow
from functions.kit.context import Context
from functions.kit.errors import FunctionError

logger = logging.getLogger(__name__)

# Of a pod that is killed: its sidecar is left the least that there is.
KILL_S = 30

JobsByName = dict[str, dict[str, Any]]


async def sweep(ctx: Context) -> None:
    """Reconcile open rows with Kubernetes, and fail those that waited too long.

    Each row has its own transaction. The next sweep goes on where the time ends.
    """
    try:
        await _reconcile(ctx)
    except FunctionError as error:
        logger.warning("cannot compare with Kubernetes: %s", error)
    await approvals.expire(ctx)
    await budget_usage.keep_waiting(ctx)
    await _expire(ctx)
    await places.report(ctx)


async def _expire(ctx: Context) -> None:
    limit_s = ctx.settings(LauncherSettings).job_queue_seconds
    async with ctx.store.connection() as connection:
        rows = await queue.waiting_since(connection, ctx.now() - timedelta(seconds=limit_s))
    for row in rows:
        message = f"it waited {limit_s} s for its Job: {row.reason or 'no room'}"
        await reconcile.fail(ctx, row, "NotLaunched", message)


async def _reconcile(ctx: Context) -> None:
    # The rows first: each Job that was launched by then is in the list.
    async with ctx.store.connection() as connection:
        rows = await tables.launched_jobs(connection)
    jobs: JobsByName = {
        str(job["metadata"]["name"]): job
        for job in await ctx.cluster.list(job_calls.BATCH, "jobs", manifest.SELECTOR)
    }
    for number, row in enumerate(rows):
        if number and ctx.remaining_s < MIN_REMAINING_S:
            return
        try:
            await _reconcile_row(ctx, row, jobs)
        except FunctionError:
            raise
        except Exception:
            logger.exception("job %s: the next sweep compares it again", row.id)
    await _delete_orphans(ctx, jobs)
    await _update_reasons(ctx)


async def _reconcile_row(ctx: Context, row: JobRow, jobs: JobsByName) -> None:
    if row.id in jobs:
        if row.missed_at is not None:
            await _missed(ctx, row, missed=False)
        late = ctx.now() - timedelta(seconds=ctx.settings(LauncherSettings).job_start_seconds)
        status = job_status(jobs[row.id])
        # A Job that a queue had held back begins with its admission.
        since = status.started_at or row.launched_at or late
        held = waits_for_admission(jobs[row.id])
        if status.state == "starting" and since < late and not held:
            await reconcile.fail_not_started(ctx, row)
        else:
            await reconcile.reconcile_job(ctx, row, jobs[row.id])
    elif row.missed_at is None:
        # The watch may be about to report how it ended.
        await _missed(ctx, row, missed=True)
    else:
        message = "its Job was deleted before its end was seen"
        await reconcile.fail(ctx, row, "Gone", message)


async def _missed(ctx: Context, row: JobRow, *, missed: bool) -> None:
    async with ctx.store.connection() as connection:
        await tables.set_missed_at(connection, row.id, ctx.now() if missed else None)


async def _delete_orphans(ctx: Context, jobs: JobsByName) -> None:
    """Delete active Jobs whose request has ended: a crash came between the two."""
    async with ctx.store.connection() as connection:
        states = await tables.states(connection, list(jobs))
    for job_id, state in states.items():
        active = job_status(jobs[job_id]).state in ("starting", "running")
        if active and state in ("cancelled", "failed"):
            logger.warning("job %s is %s and still active: deleting it", job_id, state)
            await job_calls.stop(ctx.cluster, job_id)


async def _end_agents(ctx: Context, pods: list[dict[str, Any]]) -> None:
    """Shorten the grace of pods that ignore their SIGTERM: it is meant for their sidecar."""
    for pod in pods:
        if outlasts_grace(pod, ctx.now(), AGENT_GRACE_S):
            name = str(pod["metadata"]["name"])
            logger.warning("pod %s: it goes on after its SIGTERM: killing it", name)
            try:
                await ctx.cluster.delete("v1", "pods", name, grace_s=KILL_S)
            except FunctionError as error:
                logger.warning("pod %s cannot be deleted, the next sweep does: %s", name, error)


async def _update_reasons(ctx: Context) -> None:
    """Store why Jobs do not start, by their pods, or by the Events of pods that were rejected."""
    pods = await ctx.cluster.list("v1", "pods", manifest.SELECTOR)
    await _end_agents(ctx, pods)
    async with ctx.store.connection() as connection:
        rows = {row.id: row for row in await tables.launched_jobs(connection)}
    for pod in pods:
        row = rows.get(manifest.job_name_of(pod))
        if row is not None:
            await reconcile.reconcile_pod(ctx, row, pod)
    async with ctx.store.connection() as connection:
        unexplained = {r.id for r in await tables.launched_jobs(connection) if not r.reason}
    if not unexplained:
        return
    try:
        errors = await job_calls.pod_creation_errors(ctx.cluster)
    except FunctionError as error:
        logger.debug("cannot read the events of Jobs: %s", error)
        return
    async with ctx.store.connection() as connection:
        for job_id in unexplained & errors.keys():
            await tables.set_reason(connection, job_id, errors[job_id])
