"""Take what agents have left, check it by their routes' rules, and do it with a token of its own.

in      POST /jobs/{job}/workspace and /jobs/{job}/outputs of a Job's pod, with its grant;
        JobSucceeded, JobFailed, JobCancelled; ApprovalDecided of outputs;
        ScheduleDue(schedule="agent-outputs-sweep")
out     AgentUsed where a Job reports more than before;
        AgentDelivered, AgentUndelivered: one of both for each Job that began, and once more where
        the outputs of one that was given up as lost come after all; ApprovalRequested before, where
        the route asks for it
asks    GitHub, after the commit
fails   503 while the database is away; while GitHub is, outputs wait
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from functions import job_grant
from functions.agent_outputs import checkpoints, tables
from functions.agent_outputs.api import ROUTES
from functions.agent_outputs.applier import EMITS, Applier, Dropper, decided
from functions.agent_outputs.settings import OutputsSettings
from functions.events.approval import ApprovalDecided
from functions.events.base import Event
from functions.events.job import JobCancelled, JobFact, JobFailed, JobSucceeded
from functions.events.schedule import ScheduleDue
from functions.job_grant import MIN_KEY_LENGTH
from functions.kit.context import Context
from functions.kit.contract import function
from functions.kit.durable import Rule
from functions.kit.telemetry import Gauge


def health(ctx: Context) -> Mapping[str, object]:
    """Is there a key for grants, and a way to ask GitHub?"""
    return {
        "takes_outputs": len(ctx.settings(OutputsSettings).grant_key) >= MIN_KEY_LENGTH,
        "asks_github": ctx.asks_github,
    }


async def gauges(ctx: Context) -> list[Gauge]:
    async with ctx.store.connection() as connection:
        count, oldest_s = await tables.count_waiting(connection, ctx.now())
    oldest = "Age of the oldest outputs that are not applied, seconds"
    return [
        Gauge("function_queue_waiting", "Outputs that are not applied", count),
        Gauge("function_queue_oldest_seconds", oldest, oldest_s),
    ]


def retention(ctx: Context) -> Sequence[Rule]:
    return tables.retention(ctx.settings(OutputsSettings).outputs_history_days)


async def ignores(event: Event, ctx: Context) -> bool:
    """Is it of a Job whose outputs no one takes, or another's approval?"""
    match event:
        case ApprovalDecided():
            return event.before != "outputs"
        case JobFact():
            return not event.gives_outputs
    return False


async def start(ctx: Context) -> None:
    """Apply what a process before has left; load what checks grants."""
    job_grant.prepare(ctx.settings(OutputsSettings).grant_key)
    ctx.part(Applier).trigger(ctx)


@function(
    emits=EMITS,
    schedules=["agent-outputs-sweep"],
    inbox="transaction",
    routes=ROUTES,
    start=start,
    health=health,
    gauges=gauges,
    retention=retention,
    ignores=ignores,
    proven=["/jobs/"],  # by the grant of the Job
)
async def agent_outputs(
    event: JobSucceeded | JobFailed | JobCancelled | ApprovalDecided | ScheduleDue, ctx: Context
) -> list[Event]:
    """Apply what is due: what was approved, and what GitHub was away for or whose process died."""
    ctx.on_commit(lambda: ctx.part(Applier).trigger(ctx))
    if isinstance(event, ScheduleDue):
        ctx.on_commit(lambda: ctx.part(Dropper).trigger(ctx))
        return []
    assert ctx.tx is not None, "this function has an inbox"
    if isinstance(event, JobFact):
        await checkpoints.ended(ctx.tx, event, ctx.now())
        return []
    return await decided(ctx, ctx.tx, event)
