"""Reconcile rows with Kubernetes, and emit an event for each state change.

Kubernetes is read first; then one short transaction updates the row. A state never goes back, so
of two processes that see the same change, one emits its event.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from functions.events.job import JobCancelled, JobFailed, JobRecorded, JobStarted, JobSucceeded
from functions.job_launcher import tables
from functions.job_launcher.decide.budget import amount
from functions.job_launcher.decide.job_status import (
    AROUND,
    ENDED,
    RECORDED_ONLY,
    JobStatus,
    PodTermination,
    disruption,
    job_status,
    suspended_at,
    waiting_reason,
    waits_for_admission,
)
from functions.job_launcher.facts import Settlement, common_fields, settled
from functions.job_launcher.kubernetes import job_calls, manifest
from functions.job_launcher.settings import LauncherSettings
from functions.job_launcher.tables import JobRow
from functions.kit.context import Context
from functions.kit.errors import FunctionError, shortened

logger = logging.getLogger(__name__)

# A Job has used what its group's budget leaves it.
BUDGET_USED_UP = "BudgetUsedUp"


async def reconcile_job(
    ctx: Context, row: JobRow, job: dict[str, Any], *, deleted: bool = False
) -> None:
    """Update an open row by its Job; `job` is the last version of a deleted one."""
    if not manifest.is_ours(row.request, job):
        return
    status = job_status(job)
    if deleted and status.state not in ENDED:
        await cancelled(ctx, row, row.cancel or "its Job was deleted in Kubernetes")
    elif status.state == "succeeded":
        await _succeeded(ctx, row, status)
    elif status.state == "failed":
        await fail(ctx, row, *_why_failed(row, status), status)
    elif status.state == "running":
        async with settled(ctx, row.request) as settlement:
            await _started(ctx, settlement, row, status)
            await _resumed(settlement, row, status)
    elif waits_for_admission(job) and row.state == "starting":
        await _set_reason(ctx, row, f"waits in the queue {row.request.pod.get('queue', '')}")
    elif waits_for_admission(job) and row.paused_at is None:
        async with ctx.store.connection() as connection:
            await tables.pause(connection, row.id, suspended_at(job) or ctx.now())


async def reconcile_pod(ctx: Context, row: JobRow, pod: dict[str, Any]) -> None:
    """Store why a pod cannot start, or why it is ended: it may be gone when its Job fails."""
    waits = waiting_reason(pod) if row.state == "starting" else ""
    if reason := disruption(pod) or waits:
        await _set_reason(ctx, row, reason)


async def _set_reason(ctx: Context, row: JobRow, reason: str) -> None:
    if row.reason != reason:
        async with ctx.store.connection() as connection:
            await tables.set_reason(connection, row.id, reason)


async def cancelled(ctx: Context, row: JobRow, reason: str, by: str | None = None) -> None:
    """Store that a Job was stopped before its end."""
    at, by = ctx.now(), by or row.superseded_by
    async with settled(ctx, row.request) as settlement:
        ending = {"superseded_by": by}
        if await tables.mark_ended(settlement.tx, row.id, "cancelled", at, reason, ending):
            fact = JobCancelled(
                **common_fields(row.request), ended_at=at, reason=reason, superseded_by=by
            )
            settlement.facts.append(fact)


async def stop(ctx: Context, row: JobRow) -> None:
    """Delete the Job of a cancelled request, then store its end."""
    if row.launched_at is not None:  # what its pods have logged goes with it
        left = await job_calls.job_result(ctx.cluster, row.request)
        async with ctx.store.connection() as connection:
            await tables.keep_left(connection, row.id, {"log": left.log, "blocked": left.blocked})
    try:
        await job_calls.stop(ctx.cluster, row.id)
    except FunctionError as error:
        logger.warning("job %s cannot be deleted yet: %s", row.id, error)
        return
    await cancelled(ctx, row, row.cancel or "cancelled by request")


def _why_failed(row: JobRow, status: JobStatus) -> tuple[str, str]:
    """Return the reason and the message; a deadline that a budget has set is the budget's."""
    if status.reason == "DeadlineExceeded" and row.deadline_s < row.request.deadline_s:
        minutes = amount("minutes", row.deadline_s / 60)
        return BUDGET_USED_UP, f"it might use {minutes} of the budget of group {row.request.group}"
    return status.reason or "Failed", status.message


async def fail_not_started(ctx: Context, row: JobRow) -> None:
    """Fail a Job whose pod did not start in time, and delete it."""
    limit_s = ctx.settings(LauncherSettings).job_start_seconds
    reason = row.reason or "Kubernetes gives no reason"
    await fail_and_stop(ctx, row, "NotStarted", f"not within {limit_s} s: {reason}")


async def fail_and_stop(ctx: Context, row: JobRow, reason: str, message: str) -> None:
    """Fail a Job and delete it.

    In this order: a watch that sees the deletion first would store it as cancelled.
    """
    status = JobStatus("failed", row.started_at) if row.state == "running" else None
    await fail(ctx, row, reason, message, status)
    try:
        await job_calls.stop(ctx.cluster, row.id)
    except FunctionError as error:
        logger.warning("job %s cannot be deleted, the next sweep does: %s", row.id, error)


async def fail(
    ctx: Context, row: JobRow, reason: str, message: str, status: JobStatus | None = None
) -> None:
    """Store that a Job failed; `status` is None where it has no Job in Kubernetes."""
    result = (
        await job_calls.job_result(ctx.cluster, row.request)
        if status
        else job_calls.JobResult(None, [])
    )
    at = (status.ended_at if status else None) or ctx.now()
    pod = result.pod
    ending = {
        "reason": reason,
        "message": _message(message, pod, row.reason),
        "pod_reason": pod.reason if pod else row.reason.partition(":")[0] or None,
        "container": pod.container if pod else "",
        "exit_code": pod.exit_code if pod else None,
        "log": result.log,
        "blocked": result.blocked,
    }
    summary = f"{reason}: {ending['message']}" if ending["message"] else reason
    async with settled(ctx, row.request) as settlement:
        if status and status.reason != "DeadlineExceeded":
            await _started(ctx, settlement, row, status)
        await _resumed(settlement, row, status)
        if await tables.mark_ended(settlement.tx, row.id, "failed", at, summary, ending):
            settlement.facts.append(JobFailed(**common_fields(row.request), ended_at=at, **ending))


def _message(message: str, pod: PodTermination | None, last_reason: str) -> str:
    """Return what helps: the end of a pod, or of a container beside the agent, says more than
    Kubernetes does of their Job."""
    if pod is None:
        return ": ".join(part for part in (message, last_reason) if part)
    if pod.lost:
        return f"{pod.reason}: {pod.message}" if pod.message else str(pod.reason)
    if pod.container in AROUND:
        ending = f"container {pod.container}, exit code {pod.exit_code}"
        return f"{ending}: {shortened(pod.message)}" if pod.message else ending
    return message or pod.message


async def _started(ctx: Context, settlement: Settlement, row: JobRow, status: JobStatus) -> None:
    at = status.started_at or ctx.now()
    if await tables.mark_started(settlement.tx, row.id, at, ctx.now()):
        settlement.facts.append(JobStarted(**common_fields(row.request), started_at=at))


async def _resumed(settlement: Settlement, row: JobRow, status: JobStatus | None) -> None:
    """Count the minutes again, from the start of the pod after a pause; it may have ended since."""
    if row.paused_at is None or status is None or status.started_at is None:
        return
    # Kubernetes' clock has whole seconds. What it has started no later is the pod before the pause.
    if status.state == "running" or status.started_at > row.paused_at:
        await tables.resume(settlement.tx, row.id, status.started_at)


async def _succeeded(ctx: Context, row: JobRow, status: JobStatus) -> None:
    result = await job_calls.job_result(ctx.cluster, row.request)
    at = status.ended_at or ctx.now()
    if result.pod is not None and result.pod.reason == RECORDED_ONLY:
        return await _recorded(ctx, row, at, result.pod.message, result.log)
    ending = {"log": result.log, "blocked": result.blocked}
    async with settled(ctx, row.request) as settlement:
        await _started(ctx, settlement, row, status)
        await _resumed(settlement, row, status)
        if await tables.mark_ended(settlement.tx, row.id, "succeeded", at, "", ending):
            times = {"started_at": status.started_at or row.started_at or at, "ended_at": at}
            fields = {**common_fields(row.request), **times}
            settlement.facts.append(JobSucceeded(**fields, blocked=result.blocked))


async def _recorded(ctx: Context, row: JobRow, at: datetime, reason: str, log: list[str]) -> None:
    """Store that a Job did not run: it has neither started nor succeeded."""
    ending = {"log": log, "outcome": "recorded"}
    async with settled(ctx, row.request) as settlement:
        if await tables.mark_ended(settlement.tx, row.id, "recorded", at, reason, ending):
            fact = JobRecorded(**common_fields(row.request), ended_at=at, reason=reason)
            settlement.facts.append(fact)
