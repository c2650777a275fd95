"""Create the Jobs of queued requests within the limits, and stop cancelled Jobs.

One short transaction leases a request, Kubernetes creates its Job with no transaction open, and a
second transaction stores the result. After a crash the lease expires, and the next attempt adopts
the Job that exists.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

from functions import job_grant
from functions.job_launcher import budget_usage, queue, tables
from functions.job_launcher.controller import reconcile
from functions.job_launcher.decide.budget import environment
from functions.job_launcher.decide.due_requests import decide_queue
from functions.job_launcher.decide.job_request import JobRequest
from functions.job_launcher.facts import settled
from functions.job_launcher.kubernetes import job_calls
from functions.job_launcher.kubernetes.pod_options import PodOptions
from functions.job_launcher.settings import LauncherSettings
from functions.job_launcher.tables import JobRow
from functions.kit.context import Context
from functions.kit.settings import BadSetting

logger = logging.getLogger(__name__)

MAX_BATCH = 20  # requests leased at once
MAX_ADMISSION_DENIALS = 10  # a minute apart
MIN_REMAINING_S = 5.0  # for the calls of one Job
LOCK_TIMEOUT_S = 10.0
# In a queue of Kueue, whose Job starts later, perhaps more than once. agent-outputs ends the grant
# with the Job.
MAX_QUEUED_S = 30 * 86400


async def launch_batch(ctx: Context) -> bool:
    """Create the Jobs that are due, oldest first; False where none is due."""
    rows = await _lease(ctx)
    blocked_groups: set[str] = set()  # their oldest request waits, and none may overtake it
    leased = [row.id for row in rows]
    for number, row in enumerate(rows):
        if number and ctx.remaining_s < MIN_REMAINING_S:
            break
        if row.request.group and row.request.group in blocked_groups:
            continue
        leased.remove(row.id)
        result = await _launch(ctx, row)
        if isinstance(result, job_calls.Postponed):
            blocked_groups.add(row.request.group)
            if result.affects_all:
                await _postpone(ctx, leased, result)
                leased.clear()
                break
    if leased:
        async with ctx.store.connection() as connection:
            await queue.release(connection, leased)
    return bool(rows)


async def stop_cancelled(ctx: Context) -> None:
    """Stop the Jobs of cancelled requests."""
    async with ctx.store.connection() as connection:
        rows = await tables.cancellation_requested(connection)
    for number, row in enumerate(rows):
        if number and ctx.remaining_s < MIN_REMAINING_S:
            return
        await reconcile.stop(ctx, row)


async def stop_overspent(ctx: Context) -> None:
    """End the Jobs that have used more than they may; what they have done is kept."""
    async with ctx.store.connection() as connection:
        found = await budget_usage.over_their_grant(ctx, connection)
    for number, (row, why) in enumerate(found):
        if number and ctx.remaining_s < MIN_REMAINING_S:
            return
        await reconcile.fail_and_stop(ctx, row, reconcile.BUDGET_USED_UP, why)


async def _lease(ctx: Context) -> list[JobRow]:
    settings = ctx.settings(LauncherSettings)
    async with ctx.store.transaction() as tx:
        await queue.lock(tx, LOCK_TIMEOUT_S)
        of_groups = await budget_usage.read(ctx, tx)
        found = decide_queue(
            await queue.queued_requests(tx),
            await queue.active_by_group(tx),
            settings.job_concurrency,
            ctx.now(),
            group_limit=settings.job_group_concurrency,
            budgets=of_groups,
        )
        # Longer than any run of the controller: no other process takes it meanwhile.
        lease_s = float(ctx.resources.process.timeout_seconds)
        rows = await queue.lease(tx, found.due[:MAX_BATCH], lease_s, found.grants)
        return [_within_grant(row) for row in rows]


def _within_grant(row: JobRow) -> JobRow:
    """Return the row; its Job has what it may use as its deadline, and in its environment."""
    if row.granted is None:
        return row
    env = {**row.request.env, **environment(row.granted)}
    return replace(row, request=replace(row.request, env=env, deadline_s=row.deadline_s))


async def _launch(ctx: Context, row: JobRow) -> job_calls.LaunchResult:
    try:
        result = await job_calls.create(ctx.cluster, row.request, _grant(ctx, row.request))
    except BadSetting as error:
        result = job_calls.Postponed(str(error), 60, affects_all=False)
    except Exception as error:
        # An error of one request does not stop the others.
        logger.exception("job %s cannot be created", row.id)
        result = job_calls.AdmissionDenied(f"{type(error).__name__}: {error}", 60)
    match result:
        case job_calls.Created():
            if result.adopted:
                logger.info("adopted job %s: it existed already", row.id)
            async with settled(ctx, row.request) as settlement:
                await queue.mark_launched(settlement.tx, row.id, ctx.now())
        case job_calls.Rejected():
            await reconcile.fail(ctx, row, "Refused", result.message)
        case job_calls.AdmissionDenied() if row.refusals + 1 >= MAX_ADMISSION_DENIALS:
            await reconcile.fail(ctx, row, "Refused", result.message)
        case job_calls.Postponed():
            logger.warning("job %s waits: %s", row.id, result.message)
            await _postpone(ctx, [row.id], result)
    return result


def _grant(ctx: Context, request: JobRequest) -> str:
    """Return what the Job's pod shows to agent-outputs; empty without a workspace."""
    workspace = request.workspace
    if workspace is None:
        return ""
    settings = ctx.settings(LauncherSettings)
    queued = bool(PodOptions.model_validate(request.pod).queue)
    if len(settings.grant_key) < job_grant.MIN_KEY_LENGTH:
        raise BadSetting("setting GRANT_KEY: missing or shorter than 32 characters")
    grant = job_grant.JobGrant(
        job_id=request.job_id,
        task_id=request.task_id,
        route=request.route,
        repository=workspace.repository or request.github,
        branch=workspace.branch,
        ref=workspace.ref,
        issue=request.issue,
        resume=request.resume,
        may_restart=queued or request.retries > 0,
        rules=job_grant.OutputRules.model_validate(request.outputs),
        approval_s=request.approval.timeout_s
        if request.approval and request.needs_approval("outputs")
        else None,
        correlation_id=request.correlation_id,
        traceparent=request.traceparent,
    )
    start_s = MAX_QUEUED_S if queued else settings.job_start_seconds
    seconds = start_s + request.deadline_s + job_grant.LATE_S
    return job_grant.signed(
        grant, settings.grant_key, ctx.now(), ctx.now() + timedelta(seconds=seconds)
    )


async def _postpone(ctx: Context, ids: list[str], result: job_calls.Postponed) -> None:
    until = ctx.now() + timedelta(seconds=result.delay_s)
    denied = isinstance(result, job_calls.AdmissionDenied)
    async with ctx.store.connection() as connection:
        await queue.postpone(
            connection, ids, result.message, until, denied=denied, may_exist=result.may_exist
        )
