"""The launcher's HTTP API, for the command line and a console: Jobs, their logs, tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from functions.job_launcher import launch, tables
from functions.job_launcher.decide import ENDED, QUEUED, Queue, look_at_queue, task_status
from functions.job_launcher.settings import LauncherSettings
from functions.job_launcher.tables import Row
from functions.kit import wire
from functions.kit.context import Context
from functions.kit.errors import Conflict, NotFound, PermanentError, shortened
from functions.kit.function import route

FILTERS = ("state", "group", "task", "service")


async def jobs(request: Request, ctx: Context) -> Response:
    """`GET /jobs?state=&group=&task=&service=&limit=50&before=`: newest first, page by page."""
    query = request.query_params
    unknown = set(query) - {*FILTERS, "limit", "before"}
    if unknown:
        raise PermanentError(f"{', '.join(sorted(unknown))}: no such filter")
    limit = _number(query.get("limit", "50"), "limit", 1, 500)
    before = _number(query["before"], "before", 1, 2**62) if "before" in query else None
    filters = {name: query[name] for name in FILTERS if query.get(name)}
    async with ctx.store.connection() as connection:
        rows = await tables.page(connection, filters, before, limit + 1)
        queue = await _queue(ctx, connection)
    shown = [describe(row, queue) for row in rows[:limit]]
    following = rows[limit - 1].position if len(rows) > limit else None
    return JSONResponse({"jobs": shown, "next": following})


async def job(request: Request, ctx: Context) -> Response:
    """`GET /jobs/{id}`: one, with what was asked for."""
    async with ctx.store.connection() as connection:
        row = await _row(connection, request)
        queue = await _queue(ctx, connection)
    asked = row.request
    spec = {
        "command": asked.command,
        "args": asked.args,
        "env": asked.env,
        "secrets": sorted(asked.secrets),
        "files": sorted(asked.files),
        "secret_files": sorted(asked.secret_files),
        "resources": {"requests": asked.requests, "limits": asked.limits},
        "ttl_seconds": asked.ttl_s,
        "deadline_seconds": asked.deadline_s,
        "retries": asked.retries,
    }
    return JSONResponse(describe(row, queue) | {"spec": spec})


async def logs(request: Request, ctx: Context) -> Response:
    """`GET /jobs/{id}/logs?follow=true&tail=100`: what the Job's latest pod says."""
    query = request.query_params
    tail = _number(query["tail"], "tail", 0, 100_000) if query.get("tail") else None
    async with ctx.store.connection() as connection:
        row = await _row(connection, request)
        queue = await _queue(ctx, connection)
    if row.state == QUEUED:
        raise Conflict(f"job {row.id} has not started: {_why(row, queue) or 'it is queued'}")
    try:
        pods = await launch.pods_of(ctx.cluster, row.id)
        if pods and query.get("follow", "false").lower() in ("true", "1", "yes"):
            lines = ctx.cluster.follow_log(pods[-1]["metadata"]["name"], tail=tail)
            return await _streamed(lines)
        if pods:
            pod = str(pods[-1]["metadata"]["name"])
            return PlainTextResponse(await ctx.cluster.log(pod, tail=tail))
    except NotFound:
        pass  # its time to live is over: the last lines are in the row
    if row.state not in ENDED:
        raise Conflict(f"job {row.id} has no pod yet: {row.reason or 'it is starting'}")
    kept = row.ending.get("log") or []
    return PlainTextResponse("".join(f"{line}\n" for line in kept), headers={"X-Log": "last lines"})


async def task(request: Request, ctx: Context) -> Response:
    """`GET /tasks/{id}`: a task's status by its Jobs, newest first."""
    task_id = request.path_params["id"]
    async with ctx.store.connection() as connection:
        rows = await tables.page(connection, {"task": task_id}, None, 100)
        queue = await _queue(ctx, connection)
    if not rows:
        raise NotFound(f"no job was ever asked for task {task_id}")
    shown = [describe(row, queue) for row in rows]
    status = task_status([row.state for row in rows])
    return JSONResponse({"task_id": task_id, "status": status, "jobs": shown})


async def cancel(request: Request, ctx: Context) -> Response:
    """`POST /jobs/{id}/cancel`: ask for it as an event, so that it is not lost."""
    async with ctx.store.connection() as connection:
        row = await _row(connection, request)
    if row.state in ENDED:
        raise Conflict(f"job {row.id} has ended: {row.state}")
    from functions.events.webhook import JobCancelRequested

    who = shortened(request.headers.get("x-user", ""), 200) or "somebody"
    asked = JobCancelRequested(job=row.id, reason=f"cancelled over HTTP by {who}")
    message = wire.Message(
        id=request.headers.get("idempotency-key") or str(uuid4()),
        source="/functions/job-launcher",
        type=asked.type,
        data=asked.model_dump_json(exclude_none=True).encode(),
        subject=row.id,
        time=wire.format_time(ctx.now()),
        datacontenttype="application/json",
    )
    await ctx.publisher.publish([message])
    return JSONResponse({"job_id": row.id, "state": row.state, "cancel": "requested"}, 202)


def describe(row: Row, queue: Queue) -> dict[str, Any]:
    """A Job as the API shows it; `reason` is why it waits, what is wrong, or how it ended."""
    asked = row.request
    return {
        "job_id": row.id,
        "state": row.state,
        "reason": _why(row, queue),
        "kind": asked.kind,
        "task_id": asked.task_id,
        "service": asked.service,
        "repository": asked.repository,
        "group": asked.group,
        "route": asked.route,
        "image": asked.image,
        "cause": {"id": asked.cause_id, "source": asked.cause_source, "type": asked.cause_type},
        "queued_at": _stamp(row.queued_at),
        "launched_at": _stamp(row.launched_at),
        "started_at": _stamp(row.started_at),
        "ended_at": _stamp(row.ended_at),
        "superseded_by": row.superseded_by or row.ending.get("superseded_by"),
        "exit_code": row.ending.get("exit_code"),
        "pod_reason": row.ending.get("pod_reason"),
        "last_lines": row.ending.get("log") or [],
    }


def _why(row: Row, queue: Queue) -> str:
    if row.cancel is not None and row.state not in ENDED:
        return f"to be stopped: {row.cancel}"
    if row.state != QUEUED:
        return row.reason
    return queue.why.get(row.id) or row.reason or "its turn has come"


async def _queue(ctx: Context, connection: Any) -> Queue:
    settings = ctx.settings(LauncherSettings)
    return look_at_queue(
        await tables.queue(connection),
        await tables.active(connection),
        settings.job_concurrency,
        ctx.now(),
        group_limit=settings.job_group_concurrency,
    )


async def _row(connection: Any, request: Request) -> Row:
    job_id = request.path_params["id"]
    row = await tables.get(connection, job_id)
    if row is None:
        raise NotFound(f"no such job: {job_id}")
    return row


async def _streamed(lines: AsyncIterator[bytes]) -> Response:
    """A stream that has begun: what fails before the first line still has its own status."""
    first = await anext(lines, b"")

    async def all_of_it() -> AsyncIterator[bytes]:
        yield first
        async for more in lines:
            yield more

    return StreamingResponse(all_of_it(), media_type="text/plain")


def _number(text: str, name: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise PermanentError(f"{name}: must be a number from {least} to {most}")
    return int(text)


def _stamp(at: datetime | None) -> str | None:
    return wire.format_time(at) if at else None


ROUTES = (
    route("/jobs", jobs),
    route("/jobs/{id}", job),
    route("/jobs/{id}/logs", logs),
    route("/jobs/{id}/cancel", cancel, ["POST"]),
    route("/tasks/{id:path}", task),
)
