"""What happens to Jobs becomes a change of their rows, and an event for each change that was made.

Whoever comes here holds the lock of `tables`, so that a change is seen, and said, exactly once.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from functions.events.base import Event
from functions.events.job import (
    JobCancelled,
    JobFailed,
    JobQueued,
    JobStarted,
    JobSucceeded,
    Outcome,
)
from functions.job_launcher import launch, manifest, tables
from functions.job_launcher.decide import (
    ENDED,
    QUEUED,
    RECORDED_ONLY,
    JobRequest,
    Progress,
    look_at_queue,
    progress,
    stuck_because,
)
from functions.job_launcher.settings import LauncherSettings
from functions.job_launcher.tables import Row
from functions.kit.context import Context
from functions.kit.durable.database import Connection
from functions.kit.errors import FunctionError

logger = logging.getLogger(__name__)

# The rest is due again with the next fact or sweep.
MOST_AT_ONCE = 20
MOST_REFUSALS = 10  # by admission, a minute apart
LEAST_S = 5.0  # what a Job needs to be made, or its end to be read


def about(request: JobRequest) -> dict[str, Any]:
    """What every fact of a Job says."""
    return {
        "job_id": request.job_id,
        "kind": request.kind,
        "task_id": request.task_id,
        "service": request.service,
        "group": request.group,
        "route": request.route,
        "correlation_id": request.correlation_id,
        "traceparent": request.traceparent,
    }


def queued(request: JobRequest) -> JobQueued:
    cause = {
        "cause_id": request.cause_id,
        "cause_source": request.cause_source,
        "cause_type": request.cause_type,
    }
    return JobQueued(**about(request), **cause)


async def launch_due(ctx: Context, tx: Connection) -> list[Event]:
    """Make the Jobs that the limits allow, oldest first."""
    settings, now = ctx.settings(LauncherSettings), ctx.now()
    found = look_at_queue(
        await tables.queue(tx),
        await tables.active(tx),
        settings.job_concurrency,
        now,
        group_limit=settings.job_group_concurrency,
    )
    events: list[Event] = []
    held: set[str] = set()
    for number, job_id in enumerate(found.due[:MOST_AT_ONCE]):
        if number and ctx.left_s < LEAST_S:
            break
        row = await tables.get(tx, job_id)
        assert row is not None, "the queue is read in this transaction"
        if row.request.group and row.request.group in held:
            continue
        outcome = await launch.make(ctx.cluster, row.request)
        match outcome:
            case launch.Made():
                await tables.launched(tx, job_id, now)
                if outcome.adopted:
                    logger.info("adopted job %s: it was there already", job_id)
            case launch.Refused():
                events += await fail(ctx, tx, row, "Refused", outcome.message)
            case launch.Denied() if row.refusals + 1 >= MOST_REFUSALS:
                events += await fail(ctx, tx, row, "Refused", outcome.message)
            case launch.Waits():
                logger.warning("job %s waits: %s", job_id, outcome.message)
                until = now + timedelta(seconds=outcome.delay_s)
                denied = isinstance(outcome, launch.Denied)
                await tables.waits(tx, job_id, outcome.message, until, denied=denied)
                held.add(row.request.group)
                if outcome.all_do:
                    for other in found.due[number + 1 : MOST_AT_ONCE]:
                        await tables.waits(tx, other, outcome.message, until)
                    break
    return events


async def seen(ctx: Context, tx: Connection, job: dict[str, Any], *, deleted: bool) -> list[Event]:
    """A Job as Kubernetes has, or last had it."""
    row = await tables.get(tx, str(job["metadata"]["name"]))
    if row is None or row.state in ENDED or not manifest.is_ours(row.request, job):
        return []
    now = progress(job)
    if deleted and now.state not in ENDED:
        return await cancelled(ctx, tx, row, row.cancel or "its Job was deleted in Kubernetes")
    if now.state == "starting":
        return []
    events = await _started(ctx, tx, row, now)
    if now.state == "succeeded":
        events += await _succeeded(ctx, tx, row, now)
    elif now.state == "failed":
        events += await fail(ctx, tx, row, now.reason or "Failed", now.message, now)
    return events


async def pod_seen(tx: Connection, pod: dict[str, Any]) -> None:
    """A pod that cannot start says why; it is no failure, Kubernetes goes on trying."""
    job_id = (pod["metadata"].get("labels") or {}).get("batch.kubernetes.io/job-name", "")
    row = await tables.get(tx, job_id)
    why = stuck_because(pod)
    if row is not None and why and row.state == "starting" and row.reason != why:
        await tables.remark(tx, job_id, why)


async def stop(
    ctx: Context, tx: Connection, row: Row, reason: str, by: str | None = None
) -> list[Event]:
    """Stop a request, wherever it is; while Kubernetes does not answer it is noted for later."""
    if row.state in ENDED:
        return []
    if row.state != QUEUED or row.tries:
        try:
            await launch.stop(ctx.cluster, row.id)
        except FunctionError as error:
            logger.warning("job %s cannot be deleted yet: %s", row.id, error)
            await tables.cancelling(tx, row.id, reason, by)
            return []
    return await cancelled(ctx, tx, row, reason, by)


async def cancelled(
    ctx: Context, tx: Connection, row: Row, reason: str, by: str | None = None
) -> list[Event]:
    at, by = ctx.now(), by or row.superseded_by
    if not await tables.ended(tx, row.id, "cancelled", at, reason, {"superseded_by": by}):
        return []
    return [JobCancelled(**about(row.request), ended_at=at, reason=reason, superseded_by=by)]


async def not_started(ctx: Context, tx: Connection, row: Row) -> list[Event]:
    """Something has kept its pod from starting for too long: others get its place."""
    try:
        await launch.stop(ctx.cluster, row.id)
    except FunctionError as error:
        logger.warning("job %s cannot be deleted yet: %s", row.id, error)
        return []
    limit_s = ctx.settings(LauncherSettings).job_start_seconds
    why = row.reason or "Kubernetes does not say why"
    return await fail(ctx, tx, row, "NotStarted", f"not within {limit_s} s: {why}")


async def fail(
    ctx: Context,
    tx: Connection,
    row: Row,
    reason: str,
    message: str,
    now: Progress | None = None,
) -> list[Event]:
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
    if not await tables.ended(tx, row.id, "failed", at, words, ending):
        return []
    return [JobFailed(**about(row.request), ended_at=at, **ending)]


async def _started(ctx: Context, tx: Connection, row: Row, now: Progress) -> list[Event]:
    ran = now.state in ("running", "succeeded") or now.reason != "DeadlineExceeded"
    at = now.started_at or ctx.now()
    if not ran or not await tables.started(tx, row.id, at):
        return []
    return [JobStarted(**about(row.request), started_at=at)]


async def _succeeded(ctx: Context, tx: Connection, row: Row, now: Progress) -> list[Event]:
    found = await launch.ending(ctx.cluster, row.id)
    at = now.ended_at or ctx.now()
    recorded = found.pod is not None and found.pod.reason == RECORDED_ONLY
    why = found.pod.message if found.pod and recorded else ""
    outcome: Outcome = "recorded" if recorded else "completed"
    ending = {"log": found.log, "outcome": outcome}
    if not await tables.ended(tx, row.id, "succeeded", at, why, ending):
        return []
    started_at = now.started_at or row.started_at or at
    times = {"started_at": started_at, "ended_at": at}
    return [JobSucceeded(**about(row.request), **times, outcome=outcome)]
