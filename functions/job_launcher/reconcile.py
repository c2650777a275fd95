"""What Kubernetes has becomes what our rows say, and a fact for each change that was made.

Kubernetes is asked first; then one short transaction moves the row on. A state only moves on, so of
two processes that see the same, one reports it.
"""

from __future__ import annotations

import logging
from typing import Any

from functions.events.job import JobCancelled, JobFailed, JobStarted, JobSucceeded, Outcome
from functions.job_launcher import launch, manifest, tables
from functions.job_launcher.decide import ENDED, RECORDED_ONLY, Progress, progress, stuck_because
from functions.job_launcher.facts import Settlement, about, settled
from functions.job_launcher.settings import LauncherSettings
from functions.job_launcher.tables import Row
from functions.kit.context import Context
from functions.kit.errors import FunctionError

logger = logging.getLogger(__name__)


async def seen(ctx: Context, row: Row, job: dict[str, Any], *, deleted: bool = False) -> None:
    """The Job of an open row, as Kubernetes has, or last had it."""
    if not manifest.is_ours(row.request, job):
        return
    now = progress(job)
    if deleted and now.state not in ENDED:
        await cancelled(ctx, row, row.cancel or "its Job was deleted in Kubernetes")
    elif now.state == "succeeded":
        await _succeeded(ctx, row, now)
    elif now.state == "failed":
        await fail(ctx, row, now.reason or "Failed", now.message, now)
    elif now.state == "running":
        async with settled(ctx, row.request) as settlement:
            await _started(ctx, settlement, row, now)


async def pod_seen(ctx: Context, row: Row, pod: dict[str, Any]) -> None:
    """A pod that cannot start says why; it is no failure, Kubernetes goes on trying."""
    why = stuck_because(pod)
    if why and row.state == "starting" and row.reason != why:
        async with ctx.store.connection() as connection:
            await tables.remark(connection, row.id, why)


async def cancelled(ctx: Context, row: Row, reason: str, by: str | None = None) -> None:
    """A Job was stopped before its end."""
    at, by = ctx.now(), by or row.superseded_by
    async with settled(ctx, row.request) as settlement:
        ending = {"superseded_by": by}
        if await tables.ended(settlement.tx, row.id, "cancelled", at, reason, ending):
            fact = JobCancelled(**about(row.request), ended_at=at, reason=reason, superseded_by=by)
            settlement.facts.append(fact)


async def stop(ctx: Context, row: Row) -> None:
    """Delete the Job of a request that is to be stopped, then say so."""
    try:
        await launch.stop(ctx.cluster, row.id)
    except FunctionError as error:
        logger.warning("job %s cannot be deleted yet: %s", row.id, error)
        return
    await cancelled(ctx, row, row.cancel or "cancelled by request")


async def not_started(ctx: Context, row: Row) -> None:
    """Something has kept its pod from starting for too long: others get its place.

    It fails first: a watch that saw its Job deleted before would say that it was cancelled.
    """
    limit_s = ctx.settings(LauncherSettings).job_start_seconds
    why = row.reason or "Kubernetes does not say why"
    await fail(ctx, row, "NotStarted", f"not within {limit_s} s: {why}")
    try:
        await launch.stop(ctx.cluster, row.id)
    except FunctionError as error:
        logger.warning("job %s cannot be deleted, the next sweep does: %s", row.id, error)


async def fail(
    ctx: Context, row: Row, reason: str, message: str, now: Progress | None = None
) -> None:
    """A Job's end without success; `now` where there was a Job."""
    found = await launch.ending(ctx.cluster, row.id) if now else launch.Ending(None, [])
    at = (now.ended_at if now else None) or ctx.now()
    ending = {
        "reason": reason,
        "message": message or (found.pod.message if found.pod else ""),
        "pod_reason": found.pod.reason if found.pod else None,
        "exit_code": found.pod.exit_code if found.pod else None,
        "log": found.log,
    }
    words = f"{reason}: {ending['message']}" if ending["message"] else reason
    async with settled(ctx, row.request) as settlement:
        if now and now.reason != "DeadlineExceeded":
            await _started(ctx, settlement, row, now)
        if await tables.ended(settlement.tx, row.id, "failed", at, words, ending):
            settlement.facts.append(JobFailed(**about(row.request), ended_at=at, **ending))


async def _started(ctx: Context, settlement: Settlement, row: Row, now: Progress) -> None:
    at = now.started_at or ctx.now()
    if await tables.started(settlement.tx, row.id, at):
        settlement.facts.append(JobStarted(**about(row.request), started_at=at))


async def _succeeded(ctx: Context, row: Row, now: Progress) -> None:
    found = await launch.ending(ctx.cluster, row.id)
    at = now.ended_at or ctx.now()
    recorded = found.pod is not None and found.pod.reason == RECORDED_ONLY
    why = found.pod.message if found.pod and recorded else ""
    outcome: Outcome = "recorded" if recorded else "completed"
    ending = {"log": found.log, "outcome": outcome}
    async with settled(ctx, row.request) as settlement:
        await _started(ctx, settlement, row, now)
        if await tables.ended(settlement.tx, row.id, "succeeded", at, why, ending):
            times = {"started_at": now.started_at or row.started_at or at, "ended_at": at}
            fact = JobSucceeded(**about(row.request), **times, outcome=outcome)
            settlement.facts.append(fact)
