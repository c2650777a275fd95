"""Queue a Job once more, from what it has left."""

from __future__ import annotations

import logging
from dataclasses import replace

from functions.events.base import AnyEvent, Event
from functions.events.webhook import JobRetryRequested
from functions.job_launcher import listing, queue, tables
from functions.job_launcher.commands import cancellations, job_commands
from functions.job_launcher.decide.job_request import JobRequest
from functions.job_launcher.decide.job_status import ENDED
from functions.job_launcher.routes.render import cause_of, job_id
from functions.job_launcher.tables import JobRow
from functions.kit.context import Context
from functions.kit.durable import Connection
from functions.kit.errors import PermanentError

logger = logging.getLogger(__name__)


def again(row: JobRow, event: AnyEvent) -> JobRequest:
    """Return the request once more, named by the event that asks for it."""
    old, attributes = row.request, event.ce_attributes
    name = job_id(old.kind, old.service, old.task_id, attributes["source"], attributes["id"])
    return replace(old, job_id=name, resume=True, **cause_of(event))


def is_over(row: JobRow) -> bool:
    """Has it ended, and do its outputs wait for no approval?"""
    return row.state in ENDED and row.approval is None


async def retry(event: JobRetryRequested, ctx: Context, tx: Connection) -> list[Event]:
    """Queue a Job, or the newest of a task, once more; nothing while one of the task is open."""
    row = await tables.get(tx, event.job) if event.job else None
    task_id = row.request.task_id if row else event.task_id
    if task_id is None:
        raise PermanentError(f"no such job: {event.job}")
    await queue.lock(tx, ctx.remaining_s / 2)  # before a task's, as everywhere
    await cancellations.lock_tasks(tx, [task_id], ctx.remaining_s / 2)
    rows = await listing.page(tx, {"task": task_id}, None, 50)
    if not rows:
        raise PermanentError(f"task {task_id} has no job")
    if still_open := [one.id for one in rows if not is_over(one)]:
        logger.warning("task %s is not retried: %s has not ended", task_id, still_open[0])
        return []
    attributes = {"source": "/functions/job-launcher", "id": ctx.key, "type": event.type}
    attributes |= {"correlationid": event.correlation_id, "traceparent": event.traceparent}
    cause = AnyEvent(ce_attributes={name: text for name, text in attributes.items() if text})
    chosen = next((one for one in rows if row is not None and one.id == row.id), rows[0])
    return await job_commands.add([again(chosen, cause)], cause, ctx, tx)
