"""Commands: request a Job, supersede it, update it while it is queued, or cancel it.

Commands change tables only; the controller calls Kubernetes after the commit.

Events arrive in any order, so their `time` decides: an older request of a pull request does not
supersede a newer one, and a cancellation that overtakes its task still stops the task.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from functions.events.base import AnyEvent, Event
from functions.events.job import JobCancelled, JobFailed
from functions.events.webhook import JobCancelRequested, TaskRequested, TaskUpdateRequested
from functions.job_launcher import facts, queue, tables
from functions.job_launcher.commands import cancellations
from functions.job_launcher.commands.refusals import refusal_of
from functions.job_launcher.decide.job_request import JobRequest
from functions.job_launcher.decide.job_status import ENDED, QUEUED
from functions.job_launcher.routes.event_data import visible_data
from functions.job_launcher.routes.match import RouteChoice, choose
from functions.job_launcher.routes.render import Rendering, renderings_of
from functions.job_launcher.routes.rendered_fields import RenderError
from functions.job_launcher.routes.route_file import Route
from functions.job_launcher.settings import LauncherSettings
from functions.job_launcher.tables import JobRow
from functions.kit import cloudevents
from functions.kit.clients.off_loop import off_loop
from functions.kit.context import Context
from functions.kit.durable import Connection
from functions.kit.errors import PermanentError

logger = logging.getLogger(__name__)

# For a task whose request arrives after its cancellation.
CANCELLATION_RETENTION = timedelta(minutes=10)

Routes = tuple[Route, ...]


def has_work(choice: RouteChoice, ctx: Context) -> bool:
    """Does a route make Jobs of this event, or refuse to?"""
    if choice.route is not None and choice.route.job is not None:
        return True
    if refusal_of(choice, ctx.now()) is not None:
        return True
    reason = "no route matches" if choice.route is None else choice.route.ignore
    logger.debug("ignored: %s", reason, extra={"fields": {"did_not_match": choice.mismatches}})
    return False


async def add(
    requests: Sequence[JobRequest], event: AnyEvent, ctx: Context, tx: Connection
) -> list[Event]:
    """Insert the requests of an event; return their events."""
    if any(request.supersede for request in requests):
        # Before the insert: of two concurrent requests, the second reads the first.
        await queue.lock(tx, ctx.remaining_s / 2)
    await cancellations.lock_tasks(
        tx, [request.task_id for request in requests], ctx.remaining_s / 2
    )
    now = ctx.now()
    at = event_time(event, now)
    source_event = await off_loop(len(event.data), _source_event, event)
    events: list[Event] = []
    for request in requests:
        if request.unless_open and await tables.open_jobs_of_task(tx, request.task_id):
            logger.info("no job %s: one of task %s is open", request.job_id, request.task_id)
            continue
        if await tables.insert(tx, request, now, requested_at=at, source_event=source_event):
            if request.refusal:
                events += await _record_refusal(ctx, tx, request)
                continue
            events.append(facts.queued(request, await queue.set_place(tx, request)))
            if request.approval is not None and request.needs_approval("start"):
                until = now + timedelta(seconds=request.approval.timeout_s)
                events.append(facts.start_approval_requested(request, until))
            events += await _apply_supersede(ctx, tx, request, at)
    return events


async def _record_refusal(ctx: Context, tx: Connection, request: JobRequest) -> list[Event]:
    """Store a request that failed to render; the other Jobs of its event go on."""
    at, ending = ctx.now(), {"reason": "Refused", "message": request.refusal}
    await tables.mark_ended(tx, request.job_id, "failed", at, f"Refused: {request.refusal}", ending)
    return [JobFailed(**facts.common_fields(request), ended_at=at, **ending)]


async def _apply_supersede(
    ctx: Context, tx: Connection, request: JobRequest, at: datetime
) -> list[Event]:
    """Stop the older requests of this supersede key, or this one if it is not the newest."""
    row = await tables.get(tx, request.job_id)
    assert row is not None, "inserted in this transaction"
    newer = await tables.newer_request(tx, request, at)
    if newer is not None:
        return await stop(ctx, tx, row, f"superseded by {newer}", newer)
    since = max(at, ctx.now() - CANCELLATION_RETENTION)
    if (reason := await cancellations.reason_of(tx, request.task_id, since)) is not None:
        return await stop(ctx, tx, row, reason)
    events: list[Event] = []
    for older in await tables.older_open_requests(tx, request, at):
        reason = f"superseded by {request.job_id}"
        events += await stop(ctx, tx, older, reason, request.job_id)
    return events


async def cancel(event: JobCancelRequested, ctx: Context, tx: Connection) -> list[Event]:
    """Stop one Job, or all open Jobs of a task. A Job that has ended does not change."""
    reason = event.reason or "cancelled by request"
    if event.task_id is not None:
        return await _cancel_task(event.task_id, reason, ctx, tx)
    row = await tables.get(tx, event.job or "")
    if row is None:
        raise PermanentError(f"no such job: {event.job}")
    return await stop(ctx, tx, row, reason) if row.state not in ENDED else []


async def _cancel_task(task_id: str, reason: str, ctx: Context, tx: Connection) -> list[Event]:
    await cancellations.lock_tasks(tx, [task_id], ctx.remaining_s / 2)
    rows = await tables.open_jobs_of_task(tx, task_id)
    events: list[Event] = []
    for row in rows:
        events += await stop(ctx, tx, row, reason)
    if not rows:
        logger.info("task %s has no open job: storing its cancellation", task_id)
        await cancellations.insert(tx, task_id, reason, ctx.now())
    return events


async def update(
    routes: Callable[[], Routes], event: TaskUpdateRequested, ctx: Context, tx: Connection
) -> list[Event]:
    """Update the queued requests of a task; set the reason of each Job that is too far for it."""
    if event.status == "cancelled":
        return await _cancel_task(event.task_id, f"cancelled by {event.origin}", ctx, tx)
    await cancellations.lock_tasks(tx, [event.task_id], ctx.remaining_s / 2)
    for row in await tables.open_jobs_of_task(tx, event.task_id):
        source = row.source_event if row.state == QUEUED else None
        if source is None or not await _change(routes(), row, source, event, ctx, tx):
            await tables.set_reason(tx, row.id, "its task was updated after the Job was created")
    return []


async def _change(
    routes: Routes,
    row: JobRow,
    source: dict[str, Any],
    update: TaskUpdateRequested,
    ctx: Context,
    tx: Connection,
) -> bool:
    """Render the request again; False where its Job is being created."""
    event = await asyncio.to_thread(_updated, source["said"], source["data"], update)
    made = await renderings(await choose_route(routes, event), event, ctx)
    requests = await rendered(made[:1], event)
    if not requests or requests[0].refusal:
        reason = requests[0].refusal if requests else "no route matches"
        await tables.set_reason(tx, row.id, f"an update of its task was rejected: {reason}")
        return True
    # Events that were sent already name the Job.
    request = replace(requests[0], job_id=row.id)
    return await tables.replace_request(tx, request, {**source, "data": event.data.decode()})


def _updated(attributes: dict[str, str], stored: object, update: TaskUpdateRequested) -> AnyEvent:
    """Return the event of a task with the fields of its update."""
    # Rows of the version before hold the data itself.
    data = json.loads(stored) if isinstance(stored, str) else stored
    assert isinstance(data, dict), "a task's data is an object"
    new = update.model_dump(mode="json", exclude_none=True, exclude={"status", "origin"})
    new["metadata"] = data.get("metadata", {}) | update.metadata
    return AnyEvent(ce_attributes=attributes, data=json.dumps(data | new).encode())


async def stop(
    ctx: Context, tx: Connection, row: JobRow, reason: str, by: str | None = None
) -> list[Event]:
    """Cancel a queued request now; leave one with a Job to the controller, after the commit."""
    if row.state in ENDED:
        return []
    at, by = ctx.now(), by or row.superseded_by
    if await tables.cancel_queued(tx, row.id, at, reason, {"superseded_by": by}):
        fields = facts.common_fields(row.request)
        return [JobCancelled(**fields, ended_at=at, reason=reason, superseded_by=by)]
    await tables.request_cancellation(tx, row.id, reason, by)
    return []


async def renderings(choice: RouteChoice, event: AnyEvent, ctx: Context) -> list[Rendering]:
    """Return what makes each request of the event's route, in the same order each time."""
    if choice.route is None or choice.route.job is None:
        return []
    settings = ctx.settings(LauncherSettings)
    return await off_loop(len(event.data), renderings_of, choice, event, settings)


async def rendered(some: Sequence[Rendering], event: AnyEvent) -> list[JobRequest]:
    """Return the requests; `PermanentError` where the event lacks what its route needs."""
    try:
        return await off_loop(len(event.data), lambda: [render() for render in some])
    except RenderError as error:
        raise PermanentError(str(error)) from None


async def choose_route(routes: Routes, event: AnyEvent) -> RouteChoice:
    """Return the event's route; a large event is read in a thread."""
    return await off_loop(len(event.data), choose, routes, event)


def event_time(event: AnyEvent, now: datetime) -> datetime:
    """Return the event's `time`, or now if that is earlier: a sender's clock may be wrong."""
    time = event.ce_attributes.get("time")
    return min(cloudevents.parse_time(time), now) if time else now


def _source_event(event: AnyEvent) -> dict[str, Any] | None:
    """Return the event of a task, from which an update of the task renders the request again.

    Its data is text: a row is read often, and large JSON is slow to read.
    """
    if event.ce_attributes["type"] != TaskRequested.type:
        return None
    return {"said": event.ce_attributes, "data": json.dumps(visible_data(event))}
