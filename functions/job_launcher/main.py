"""Turn requests into Kubernetes Jobs, exactly one for each, and follow them to their end.

in      any event that a route names; JobCancelRequested, JobRetryRequested, TaskUpdateRequested;
        AgentUsed, AgentDelivered, AgentUndelivered, ApprovalRequested of outputs;
        ScheduleDue(schedule="job-sweep")
out     JobQueued, JobStarted, JobSucceeded, JobFailed, JobCancelled: each once for a Job;
        JobRecorded in place of start and success, where the machine could not run it;
        JobMoved where a request that waits has another place, JobHeld, BudgetWarned: once a day;
        ApprovalRequested where a Job waits for a user before its start, ApprovalDecided;
        AgentRefused where a user asked for a Job and may not, AgentAnswered to a command
calls   Kubernetes, after the commit
fails   PermanentError where an event lacks what its route needs; while Kubernetes is unavailable
        the request stays in the queue
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions import job_grant
from functions.events.agent import (
    AgentAnswered,
    AgentDelivered,
    AgentRefused,
    AgentUndelivered,
    AgentUsed,
)
from functions.events.approval import ApprovalRequested
from functions.events.base import AnyEvent, Event
from functions.events.schedule import ScheduleDue
from functions.events.webhook import (
    JobCancelRequested,
    JobRetryRequested,
    TaskUpdateRequested,
)
from functions.job_launcher import budget_usage, outcome, tables
from functions.job_launcher.api import ROUTES
from functions.job_launcher.commands import (
    approvals,
    enqueue,
    issue_commands,
    job_commands,
    retries,
)
from functions.job_launcher.controller.controller import Controller
from functions.job_launcher.facts import EMITS
from functions.job_launcher.gauges import gauges
from functions.job_launcher.routes.route_file import BadRoutes
from functions.job_launcher.routes.source import routes_of
from functions.job_launcher.settings import LauncherSettings
from functions.kit.context import Context
from functions.kit.contract import function
from functions.kit.contract.decorator import route
from functions.kit.settings import BadSetting


async def start(ctx: Context) -> None:
    """Refuse to start with invalid routes; load what signs grants; launch what is queued."""
    try:
        ctx.part(routes_of).routes()
    except BadRoutes as error:
        raise BadSetting(f"setting ROUTES_FILE:\n{error}") from None
    job_grant.prepare(ctx.settings(LauncherSettings).grant_key)
    _parts(ctx).launch(ctx)  # what an earlier process has left


def _parts(ctx: Context) -> Controller:
    """Return the process's controller, which launches what is queued later as well."""
    controller = ctx.part(Controller)
    ctx.part(enqueue.RemainingTasks).on_added = controller.launch
    return controller


def health(ctx: Context) -> Mapping[str, object]:
    """Return the number of routes, and why the last change of their file was rejected."""
    source = ctx.part(routes_of)
    found: dict[str, object] = {"routes": len(source.routes())}
    return found | ({"refused_routes": source.refused} if source.refused else {})


async def routes(request: Request, ctx: Context) -> Response:
    """`GET /routes`: what each matches, and whether it makes a Job."""
    every = ctx.part(routes_of).routes()
    shown = [
        {"name": one.name, "match": one.match.model_dump(exclude_none=True), "job": bool(one.job)}
        for one in every
    ]
    return JSONResponse({"routes": shown})


async def ignores(event: Event, ctx: Context) -> bool:
    """Does no route make Jobs of it, and does it mean nothing for those that are there?"""
    if isinstance(event, ApprovalRequested):
        return event.before == "start"  # which is our own
    if not isinstance(event, AnyEvent):
        return False
    choice = await job_commands.choose_route(ctx.part(routes_of).routes(), event)
    if command := issue_commands.command_in(choice):
        return not await issue_commands.has_effect(command, ctx)
    return not job_commands.has_work(choice, ctx)


@function(
    emits=[*EMITS, AgentRefused, AgentAnswered],
    schedules=["job-sweep"],
    inbox="transaction",
    routes=[*ROUTES, route("/routes", routes)],
    start=start,
    health=health,
    gauges=gauges,
    ignores=ignores,
    retention=lambda ctx: tables.retention(ctx.settings(LauncherSettings).job_history_days),
)
async def job_launcher(
    event: JobCancelRequested
    | JobRetryRequested
    | TaskUpdateRequested
    | AgentUsed
    | AgentDelivered
    | AgentUndelivered
    | ApprovalRequested
    | ScheduleDue
    | AnyEvent,
    ctx: Context,
) -> list[Event]:
    tx = ctx.tx
    assert tx is not None, "this function has an inbox"
    controller = _parts(ctx)
    if isinstance(event, ScheduleDue):
        ctx.on_commit(lambda: controller.sweep(ctx))
        return []
    ctx.on_commit(lambda: controller.launch(ctx))
    if isinstance(event, AgentUsed | AgentDelivered | AgentUndelivered | ApprovalRequested):
        await budget_usage.report_usage(tx, event.job_id, event.usage)
    match event:
        case AgentUsed():
            return []
        case AgentDelivered() | AgentUndelivered():
            await tables.set_agent(tx, event.job_id, outcome.result_of(event))
            return []
        case ApprovalRequested():
            await approvals.outputs_wait(tx, event)
            return []
        case JobCancelRequested():
            return await job_commands.cancel(event, ctx, tx)
        case JobRetryRequested():
            return await retries.retry(event, ctx, tx)
        case TaskUpdateRequested():
            return await job_commands.update(lambda: ctx.part(routes_of).routes(), event, ctx, tx)
        case AnyEvent():
            routes = ctx.part(routes_of).routes()
            choice = await job_commands.choose_route(routes, event)
            if command := issue_commands.command_in(choice):
                return await issue_commands.run(command, choice, routes, event, ctx, tx)
            return await enqueue.enqueue(choice, event, ctx, tx)
