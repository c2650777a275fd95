"""The launcher's HTTP API: Jobs, their logs, tasks."""

from __future__ import annotations

from datetime import timedelta
from typing import get_args
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions.events.approval import Decision, Stage
from functions.events.webhook import JobCancelRequested, JobRetryRequested
from functions.job_launcher import budget_usage, facts, listing
from functions.job_launcher.commands import approvals, retries
from functions.job_launcher.controller.controller import Controller
from functions.job_launcher.decide.job_status import ENDED, State
from functions.job_launcher.logs import logs
from functions.job_launcher.outcome import status_of
from functions.job_launcher.tables import JobRow
from functions.job_launcher.view import describe, find_row, read_queue
from functions.kit import cloudevents
from functions.kit.clients import derived_key, path
from functions.kit.context import Context
from functions.kit.contract import ACTIONS, Query, page, user_of
from functions.kit.contract.callers import for_operators
from functions.kit.contract.decorator import route
from functions.kit.durable import UserAction, record_action
from functions.kit.errors import Conflict, NotFound, shortened

FILTERS = ("state", "group", "task", "service", "approval")


async def jobs(request: Request, ctx: Context) -> Response:
    """`GET /jobs?state=&group=&task=&service=&approval=&limit=50&cursor=`: newest first."""
    query = Query(request)
    query.refuse_others(*FILTERS, "limit", "cursor", "before")
    query.choice("state", get_args(State))
    query.choice("approval", get_args(Stage))
    limit = query.limit()
    filters = {name: text for name in FILTERS if (text := query.text(name))}
    async with ctx.store.connection() as connection:
        rows = await listing.page(connection, filters, query.cursor("before"), limit + 1)
        total = await listing.count(connection, filters)
        queue = await read_queue(ctx, connection)
    shown, following = page(rows, limit, lambda row: row.position)
    described = [describe(row, queue) for row in shown]
    return JSONResponse({"jobs": described, "next": following, "total": total})


async def job(request: Request, ctx: Context) -> Response:
    """`GET /jobs/{id}`: a Job with the spec that was requested."""
    async with ctx.store.connection() as connection:
        row = await find_row(connection, request.path_params["id"])
        queue = await read_queue(ctx, connection)
    wanted = row.request
    spec = {
        "command": wanted.command,
        "args": wanted.args,
        "env": wanted.env,
        "secrets": sorted(wanted.secrets),
        "files": sorted(wanted.files),
        "secret_files": sorted(wanted.secret_files),
        "resources": {"requests": wanted.requests, "limits": wanted.limits},
        "ttl_seconds": wanted.ttl_s,
        "deadline_seconds": wanted.deadline_s,
        "retries": wanted.retries,
    }
    return JSONResponse(describe(row, queue, with_report=True) | {"spec": spec})


async def task(request: Request, ctx: Context) -> Response:
    """`GET /tasks/{id}`: a task's status by its Jobs, newest first; what came of the newest one,
    and where that is."""
    task_id = request.path_params["id"]
    async with ctx.store.connection() as connection:
        rows = await listing.page(connection, {"task": task_id}, None, 100)
        queue = await read_queue(ctx, connection)
    if not rows:
        raise NotFound(f"task {task_id} has no job")
    newest, *older = rows
    shown = [describe(newest, queue, with_report=True), *(describe(row, queue) for row in older)]
    result = shown[0]["result"] or {}
    status = status_of(newest.state, shown[0]["outcome"], result.get("reason"))
    links = {
        "job": path("jobs", newest.id),
        "log": f"{path('jobs', newest.id)}/logs",
        **({"pull_request": result["url"]} if result.get("url") else {}),
    }
    return JSONResponse(
        {
            "task_id": task_id,
            "status": status,
            "outcome": shown[0]["outcome"],
            "result": shown[0]["result"],
            "links": links,
            "jobs": shown,
        }
    )


async def cancel(request: Request, ctx: Context) -> Response:
    """`POST /jobs/{id}/cancel?reason=`: publish the request as an event, which survives a crash."""
    async with ctx.store.connection() as connection:
        row = await find_row(connection, request.path_params["id"])
    if row.state in ENDED:
        raise Conflict(f"job {row.id} has ended: {row.state}")
    return await _publish(request, ctx, row, JobCancelRequested, "cancel")


async def retry(request: Request, ctx: Context) -> Response:
    """`POST /jobs/{id}/retry?reason=`: the same, for the Job once more."""
    async with ctx.store.connection() as connection:
        row = await find_row(connection, request.path_params["id"])
    if not retries.is_over(row):
        raise Conflict(f"job {row.id} has not ended: {row.state}")
    return await _publish(request, ctx, row, JobRetryRequested, "retry")


async def _publish(
    request: Request,
    ctx: Context,
    row: JobRow,
    kind: type[JobCancelRequested | JobRetryRequested],
    word: str,
) -> Response:
    reason = shortened(Query(request).text("reason") or "", 400)
    user = user_of(request.headers) or "anonymous"
    verb, past = {"cancel": ("stop", "stopped"), "retry": ("retry", "retried")}[word]
    why = f"{past} by {user}{': ' if reason else ''}{reason}"
    command = kind(job=row.id, reason=why)
    key = request.headers.get("idempotency-key")
    excluded = set(command.attributes())
    message = cloudevents.Message(
        # Of the Job and the action too: what takes the event would drop a repeated id unread.
        id=derived_key(key, command.type, row.id) if key else str(uuid4()),
        source="/functions/job-launcher",
        type=command.type,
        data=command.model_dump_json(exclude_none=True, exclude=excluded).encode(),
        subject=row.id,
        time=cloudevents.format_time(ctx.now()),
        datacontenttype="application/json",
    )
    async with ctx.store.transaction() as tx:
        done = UserAction(user, f"asked to {verb}", f"job {row.id}", reason)
        await record_action(tx, ctx.function, done, ctx.now())
        entries = await ctx.resources.durable.put(tx, ctx.function, [message])
    ctx.resources.durable.deliver(entries)
    return JSONResponse({"job_id": row.id, "state": row.state, word: "requested"}, 202)


async def approve(request: Request, ctx: Context) -> Response:
    """`POST /jobs/{id}/approve?reason=`: let what it waits for happen."""
    return await _decide(request, ctx, "approved")


async def reject(request: Request, ctx: Context) -> Response:
    """`POST /jobs/{id}/reject?reason=`: let it never happen."""
    return await _decide(request, ctx, "rejected")


async def _decide(request: Request, ctx: Context, decision: Decision) -> Response:
    reason = shortened(Query(request).text("reason") or "")
    user = user_of(request.headers) or "anonymous"
    async with ctx.store.connection() as connection:
        row = await find_row(connection, request.path_params["id"])
    async with facts.settled(ctx, row.request, approvals.stage_of(row)) as settlement:
        events = await approvals.decide(ctx, settlement.tx, row, decision, user, reason)
        if not events:
            raise Conflict(f"job {row.id} waits for no approval: it is {row.state}")
        settlement.facts += events
    ctx.part(Controller).launch(ctx)
    return JSONResponse({"job_id": row.id, "before": row.approval, "decision": decision}, 202)


async def budget_list(request: Request, ctx: Context) -> Response:
    """`GET /budgets`: what each group with a budget has used of it today, the fullest first."""
    Query(request).refuse_others()
    async with ctx.store.connection() as connection:
        found = await budget_usage.read(ctx, connection)
    shown = [
        {
            "group": one.group,
            "ends_at": cloudevents.format_time(one.ends_at),
            "used": {unit: one.used.get(unit, 0.0) for unit in one.limits.limits},
            "reserved": {unit: one.reserved.get(unit, 0.0) for unit in one.limits.limits},
            "limits": dict(one.limits.limits),
            "ratio": max(one.ratio(unit) for unit in one.limits.limits),
            "used_up": one.is_used_up(),
            "reason": one.reason(),
        }
        for one in found.values()
    ]
    return JSONResponse({"budgets": sorted(shown, key=lambda one: -float(str(one["ratio"])))})


async def costs(request: Request, ctx: Context) -> Response:
    """`GET /costs?days=30`: what each issue, or task without one, has cost, the dearest first."""
    query = Query(request)
    query.refuse_others("days")
    days = query.number("days", 30, 1, 90)
    since = ctx.now() - timedelta(days=days)
    async with ctx.store.connection() as connection:
        rows = await listing.costs(connection, ctx.now(), since)
    return JSONResponse({"costs": rows, "days": days})


ROUTES = (
    ACTIONS,
    route("/budgets", budget_list),
    route("/costs", costs),
    route("/jobs", jobs),
    route("/jobs/{id}", job),
    route("/jobs/{id}/logs", logs),
    route("/jobs/{id}/cancel", for_operators(cancel), ["POST"]),
    route("/jobs/{id}/retry", for_operators(retry), ["POST"]),
    route("/jobs/{id}/approve", for_operators(approve), ["POST"]),
    route("/jobs/{id}/reject", for_operators(reject), ["POST"]),
    route("/tasks/{id:path}", task),
)
