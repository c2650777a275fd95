"""Commands: a Job is requested, replaced by a newer one, changed while it waits, or stopped.

All of it is in tables: no Job is made or stopped here.

Events arrive in any order, so what counts is when they were said: an older request of a pull
request does not replace a newer one, and a cancellation that overtakes its task still stops it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from functions.events.base import AnyEvent, Event
from functions.events.job import JobCancelled, JobFailed
from functions.events.webhook import JobCancelRequested, TaskRequested, TaskUpdateRequested
from functions.job_launcher import cancellations, facts, queue, tables
from functions.job_launcher.decide import ENDED, QUEUED, JobRequest
from functions.job_launcher.event_data import data_of
from functions.job_launcher.match import Choice, choose
from functions.job_launcher.render import BadRequest, requests_of
from functions.job_launcher.route_file import Route
from functions.job_launcher.settings import LauncherSettings
from functions.job_launcher.tables import Row
from functions.kit import cloudevents
from functions.kit.context import Context
from functions.kit.durable.database import Connection
from functions.kit.errors import PermanentError

logger = logging.getLogger(__name__)

# How long a cancellation waits for the task that it overtook.
CANCELLED_FOR = timedelta(minutes=10)
# What is larger is read in a thread: others are served meanwhile.
INLINE_BYTES = 64 * 1024

Routes = tuple[Route, ...]
T = TypeVar("T")


async def is_wanted(routes: Routes, event: AnyEvent) -> bool:
    """Does a route make Jobs of it? Most of what a repository tells is nobody's."""
    choice = await _chosen(routes, event)
    if choice.route is not None and choice.route.job is not None:
        return True
    why = "no route matches" if choice.route is None else choice.route.ignore
    logger.debug("ignored: %s", why, extra={"fields": {"did_not_match": choice.passed}})
    return False


async def take(routes: Routes, event: AnyEvent, ctx: Context, tx: Connection) -> list[Event]:
    """Claim places in the queue, if a route says so."""
    requests = await _requests(routes, event, ctx)
    if any(request.supersede for request in requests):
        # Before the claim: of two that come together, the second sees the first.
        await queue.lock(tx, ctx.left_s / 2)
    await cancellations.lock_tasks(tx, [request.task_id for request in requests], ctx.left_s / 2)
    at = _said_at(event, ctx.now())
    kept = _kept(event)
    events: list[Event] = []
    for request in requests:
        if await tables.claim(tx, request, ctx.now(), requested_at=at, source_event=kept):
            if request.refusal:
                events += await _refused(ctx, tx, request)
                continue
            events.append(facts.queued(request))
            events += await _placed(ctx, tx, request, at)
    return events


async def _refused(ctx: Context, tx: Connection, request: JobRequest) -> list[Event]:
    """Put on record that a Job cannot be made, of the several that its event asks for."""
    at, ending = ctx.now(), {"reason": "Refused", "message": request.refusal}
    await tables.ended(tx, request.job_id, "failed", at, f"Refused: {request.refusal}", ending)
    return [JobFailed(**facts.about(request), ended_at=at, **ending)]


async def _placed(ctx: Context, tx: Connection, request: JobRequest, at: datetime) -> list[Event]:
    """Stop what the request replaces; or itself, where it comes too late."""
    row = await tables.get(tx, request.job_id)
    assert row is not None, "it was claimed in this transaction"
    newer = await tables.newer(tx, request, at)
    if newer is not None:
        return await _stop(ctx, tx, row, f"superseded by {newer}", newer)
    since = max(at, ctx.now() - CANCELLED_FOR)
    if (reason := await cancellations.reason_of(tx, request.task_id, since)) is not None:
        return await _stop(ctx, tx, row, reason)
    events: list[Event] = []
    for older in await tables.open_older(tx, request, at):
        reason = f"superseded by {request.job_id}"
        events += await _stop(ctx, tx, older, reason, request.job_id)
    return events


async def cancel(event: JobCancelRequested, ctx: Context, tx: Connection) -> list[Event]:
    """Stop one Job, or all that a task has; what has ended stays as it ended."""
    reason = event.reason or "cancelled by request"
    if event.task_id is not None:
        return await _cancel_task(event.task_id, reason, ctx, tx)
    row = await tables.get(tx, event.job or "")
    if row is None:
        raise PermanentError(f"no such job: {event.job}")
    return await _stop(ctx, tx, row, reason) if row.state not in ENDED else []


async def _cancel_task(task_id: str, reason: str, ctx: Context, tx: Connection) -> list[Event]:
    await cancellations.lock_tasks(tx, [task_id], ctx.left_s / 2)
    rows = await tables.open_of_task(tx, task_id)
    events: list[Event] = []
    for row in rows:
        events += await _stop(ctx, tx, row, reason)
    if not rows:
        logger.info("task %s has no open job: its cancellation is kept for a while", task_id)
        await cancellations.keep(tx, task_id, reason, ctx.now())
    return events


async def update(
    routes: Callable[[], Routes], event: TaskUpdateRequested, ctx: Context, tx: Connection
) -> list[Event]:
    """Change what waits for its turn; a Job at work goes on with what it was given, and says so."""
    if event.status == "cancelled":
        return await _cancel_task(event.task_id, f"cancelled by {event.origin}", ctx, tx)
    await cancellations.lock_tasks(tx, [event.task_id], ctx.left_s / 2)
    for row in await tables.open_of_task(tx, event.task_id):
        source = row.source_event if row.state == QUEUED else None
        if source is None or not await _change(routes(), row, source, event, ctx, tx):
            words = "a change of its task came too late: it works on what was requested first"
            await tables.remark(tx, row.id, words)
    return []


async def _change(
    routes: Routes,
    row: Row,
    source: dict[str, Any],
    update: TaskUpdateRequested,
    ctx: Context,
    tx: Connection,
) -> bool:
    """Make the request anew; False where its Job is being made."""
    new = update.model_dump(mode="json", exclude_none=True, exclude={"status", "origin"})
    data = source["data"] | new
    data["metadata"] = source["data"].get("metadata", {}) | update.metadata
    event = AnyEvent(said=source["said"], data=json.dumps(data).encode())
    requests = await _requests(routes, event, ctx)
    if not requests or requests[0].refusal:
        why = requests[0].refusal if requests else "no route serves it"
        await tables.remark(tx, row.id, f"a change of its task is not taken: {why}")
        return True
    # The name stays: it is what the facts that were sent call the Job.
    request = replace(requests[0], job_id=row.id)
    return await tables.change(tx, request, {**source, "data": data})


async def _stop(
    ctx: Context, tx: Connection, row: Row, reason: str, by: str | None = None
) -> list[Event]:
    """Stop a request: at once where it has no Job; else the controller does, after the commit."""
    if row.state in ENDED:
        return []
    at, by = ctx.now(), by or row.superseded_by
    if await tables.withdrawn(tx, row.id, at, reason, {"superseded_by": by}):
        about = facts.about(row.request)
        return [JobCancelled(**about, ended_at=at, reason=reason, superseded_by=by)]
    await tables.cancelling(tx, row.id, reason, by)
    return []


async def _requests(routes: Routes, event: AnyEvent, ctx: Context) -> list[JobRequest]:
    choice = await _chosen(routes, event)
    if choice.route is None or choice.route.job is None:
        return []
    try:
        settings = ctx.settings(LauncherSettings)
        return await _off_the_loop(event, lambda: requests_of(choice, event, settings))
    except BadRequest as error:
        raise PermanentError(str(error)) from None


async def _chosen(routes: Routes, event: AnyEvent) -> Choice:
    return await _off_the_loop(event, lambda: choose(routes, event))


async def _off_the_loop(event: AnyEvent, work: Callable[[], T]) -> T:
    return await asyncio.to_thread(work) if len(event.data) > INLINE_BYTES else work()


def _said_at(event: AnyEvent, now: datetime) -> datetime:
    """When the event says that it happened; never later than now, whatever its sender's clock."""
    said = event.said.get("time")
    return min(cloudevents.parse_time(said), now) if said else now


def _kept(event: AnyEvent) -> dict[str, Any] | None:
    """A task's own words, of which a change of the task makes the request anew."""
    if event.said["type"] != TaskRequested.type:
        return None
    return {"said": event.said, "data": data_of(event)}
