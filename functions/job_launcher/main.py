"""Turn requests into Kubernetes Jobs, exactly one for each, and follow them to their end.

in      any event that a route names; JobCancelRequested, TaskUpdateRequested; the Jobs' changes
        (ApiServerSource); ScheduleDue(schedule="job-sweep"); our own facts, each of which makes
        us look at the queue
out     JobQueued, JobStarted, JobSucceeded, JobFailed, JobCancelled: each once for a Job
asks    Kubernetes
fails   PermanentError where an event lacks what its route needs. Kubernetes being away is no
        failure: the request stays in the queue and says why
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from functions.events.base import AnyEvent, Event
from functions.events.job import (
    JobCancelled,
    JobFailed,
    JobQueued,
    JobStarted,
    JobSucceeded,
    KubernetesObjectChanged,
)
from functions.events.schedule import ScheduleDue
from functions.events.webhook import JobCancelRequested, TaskUpdateRequested
from functions.job_launcher import asked, follow, tables
from functions.job_launcher.api import ROUTES
from functions.job_launcher.gauges import gauges
from functions.job_launcher.route_file import BadRoutes, RoutesSource
from functions.job_launcher.settings import LauncherSettings
from functions.job_launcher.sweep import forget, sweep
from functions.kit.context import Context, Resources
from functions.kit.errors import PermanentError
from functions.kit.function import function
from functions.kit.settings import BadSetting

# After each of these there may be room, or something to launch.
Moved = JobQueued | JobSucceeded | JobFailed | JobCancelled


def routes_of(resources: Resources) -> RoutesSource:
    """The process's routes, which follow their file."""
    path = resources.settings(LauncherSettings).routes_file
    if not path:
        raise BadSetting("setting ROUTES_FILE is missing: name the file with the routes")
    return RoutesSource(Path(path))


async def start(ctx: Context) -> None:
    """Wrong routes are found out when the process starts, not when an event comes."""
    try:
        ctx.part(routes_of).routes()
    except BadRoutes as error:
        raise BadSetting(f"setting ROUTES_FILE:\n{error}") from None


def health(ctx: Context) -> Mapping[str, object]:
    """How many routes there are, and what is wrong with a change that was not taken."""
    source = ctx.part(routes_of)
    found: dict[str, object] = {"routes": len(source.routes())}
    return found | ({"refused_routes": source.refused} if source.refused else {})


async def ignores(event: Event, ctx: Context) -> bool:
    """Does no route want it?"""
    return isinstance(event, AnyEvent) and not await asked.is_wanted(
        ctx.part(routes_of).routes(), event
    )


@function(
    emits=[JobQueued, JobStarted, JobSucceeded, JobFailed, JobCancelled],
    schedules=["job-sweep"],
    inbox="transaction",
    routes=ROUTES,
    start=start,
    health=health,
    gauges=gauges,
    ignores=ignores,
)
async def job_launcher(
    event: JobCancelRequested
    | TaskUpdateRequested
    | KubernetesObjectChanged
    | ScheduleDue
    | JobQueued
    | JobSucceeded
    | JobFailed
    | JobCancelled
    | AnyEvent,
    ctx: Context,
) -> list[Event]:
    tx = ctx.tx
    assert tx is not None, "this function has an inbox"
    if isinstance(event, AnyEvent):
        return await asked.take(ctx.part(routes_of).routes(), event, ctx, tx)
    if isinstance(event, ScheduleDue):
        await forget(ctx)
    await tables.lock(tx, ctx.left_s / 2)
    match event:
        case JobCancelRequested():
            return await asked.cancel(event, ctx, tx)
        case TaskUpdateRequested():
            return await asked.update(lambda: ctx.part(routes_of).routes(), event, ctx, tx)
        case KubernetesObjectChanged(kind="Job"):
            deleted = event.change.endswith(".delete")
            return await follow.seen(ctx, tx, event.as_object(), deleted=deleted)
        case KubernetesObjectChanged(kind="Pod"):
            await follow.pod_seen(tx, event.as_object())
            return []
        case ScheduleDue():
            return await sweep(ctx, tx)
        case JobQueued() | JobSucceeded() | JobFailed() | JobCancelled():
            return await follow.launch_due(ctx, tx)
    raise PermanentError(f"{event.kind} is nothing that we follow: select Job and Pod only")
