"""A Job as the HTTP API shows it, and why it is where it is."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from functions.job_launcher import queue, tables
from functions.job_launcher.decide import ENDED, QUEUED, Queue, look_at_queue
from functions.job_launcher.settings import LauncherSettings
from functions.job_launcher.tables import Row
from functions.kit import cloudevents
from functions.kit.context import Context
from functions.kit.errors import NotFound


async def row_and_why(ctx: Context, job_id: str) -> tuple[Row, str]:
    """A Job's row and, in words, what it waits for or how it ended."""
    async with ctx.store.connection() as connection:
        row = await row_of(connection, job_id)
        waiting = await queue_of(ctx, connection)
    return row, why(row, waiting)


def describe(row: Row, waiting: Queue) -> dict[str, Any]:
    """A Job as the API shows it; `reason` is why it waits, what is wrong, or how it ended.

    `outcome` is `completed`, or `recorded` where nothing ran; none without success.
    """
    request = row.request
    return {
        "job_id": row.id,
        "state": row.state,
        "outcome": row.ending.get("outcome"),
        "reason": why(row, waiting),
        "kind": request.kind,
        "task_id": request.task_id,
        "service": request.service,
        "repository": request.repository,
        "group": request.group,
        "route": request.route,
        "image": request.image,
        "cause": {
            "id": request.cause_id,
            "source": request.cause_source,
            "type": request.cause_type,
        },
        "queued_at": _stamp(row.queued_at),
        "launched_at": _stamp(row.launched_at),
        "started_at": _stamp(row.started_at),
        "ended_at": _stamp(row.ended_at),
        "superseded_by": row.superseded_by or row.ending.get("superseded_by"),
        "exit_code": row.ending.get("exit_code"),
        "pod_reason": row.ending.get("pod_reason"),
        "last_lines": row.ending.get("log") or [],
    }


def why(row: Row, waiting: Queue) -> str:
    """What it waits for, what is wrong with it, or how it ended."""
    if row.cancel is not None and row.state not in ENDED:
        return f"to be stopped: {row.cancel}"
    if row.state != QUEUED:
        return row.reason
    return waiting.why.get(row.id) or row.reason or "its turn has come"


async def queue_of(ctx: Context, connection: Any) -> Queue:
    settings = ctx.settings(LauncherSettings)
    return look_at_queue(
        await queue.waiting(connection),
        await queue.active(connection),
        settings.job_concurrency,
        ctx.now(),
        group_limit=settings.job_group_concurrency,
    )


async def row_of(connection: Any, job_id: str) -> Row:
    row = await tables.get(connection, job_id)
    if row is None:
        raise NotFound(f"no such job: {job_id}")
    return row


def _stamp(at: datetime | None) -> str | None:
    return cloudevents.format_time(at) if at else None
