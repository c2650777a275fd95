"""Keep a comment for each route on an issue, and a check run on a pull request: what agents do.

in      JobQueued, JobMoved, JobHeld, BudgetWarned, JobStarted, JobSucceeded, JobRecorded,
        JobFailed, JobCancelled, AgentUsed, AgentDelivered, AgentUndelivered, AgentRefused,
        AgentAnswered, ApprovalRequested, ApprovalDecided;
        ScheduleDue(schedule="agent-status-sweep")
out     nothing
asks    GitHub, after the commit
fails   while GitHub is away comments wait; none is lost, and those in between are left out
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from functions.agent_status import decide, tables
from functions.agent_status.publishing import Publisher
from functions.events.agent import (
    AgentAnswered,
    AgentDelivered,
    AgentFact,
    AgentRefused,
    AgentReply,
    AgentUndelivered,
    AgentUsed,
)
from functions.events.approval import ApprovalDecided, ApprovalFact, ApprovalRequested
from functions.events.base import Event
from functions.events.job import (
    BudgetWarned,
    JobCancelled,
    JobFact,
    JobFailed,
    JobHeld,
    JobMoved,
    JobQueued,
    JobRecorded,
    JobStarted,
    JobSucceeded,
)
from functions.events.schedule import ScheduleDue
from functions.kit.context import Context
from functions.kit.contract import function
from functions.kit.durable import Rule
from functions.kit.telemetry import Gauge


def health(ctx: Context) -> Mapping[str, object]:
    """Is there a way to ask GitHub? Without one nothing is shown."""
    return {"asks_github": ctx.asks_github}


async def gauges(ctx: Context) -> list[Gauge]:
    async with ctx.store.connection() as connection:
        count, oldest_s = await tables.count_waiting(connection)
    oldest = "Age of the oldest status that is not shown, seconds"
    return [
        Gauge("function_queue_waiting", "Comments that show less than is known", count),
        Gauge("function_queue_oldest_seconds", oldest, oldest_s),
    ]


def retention(ctx: Context) -> Sequence[Rule]:
    return tables.RETENTION


async def start(ctx: Context) -> None:
    """Show what a process before has left."""
    ctx.part(Publisher).trigger(ctx)


async def ignores(event: Event, ctx: Context) -> bool:
    """Is it about no issue or pull request?"""
    if not isinstance(event, JobFact | AgentUsed | AgentFact | ApprovalFact):
        return False
    return not event.repository or event.issue is None


@function(
    schedules=["agent-status-sweep"],
    inbox="transaction",
    start=start,
    health=health,
    gauges=gauges,
    retention=retention,
    ignores=ignores,
    ad_hoc=False,
)
async def agent_status(
    event: JobQueued
    | JobMoved
    | JobStarted
    | JobHeld
    | BudgetWarned
    | JobSucceeded
    | JobRecorded
    | JobFailed
    | JobCancelled
    | AgentUsed
    | AgentDelivered
    | AgentUndelivered
    | AgentRefused
    | AgentAnswered
    | ApprovalRequested
    | ApprovalDecided
    | ScheduleDue,
    ctx: Context,
) -> None:
    """Store what has become known; what is shown follows after the commit."""
    ctx.on_commit(lambda: ctx.part(Publisher).trigger(ctx))
    if isinstance(event, ScheduleDue):
        return
    assert ctx.tx is not None, "this function has an inbox"
    assert event.issue is not None, "others are ignored"
    thread = await tables.locked(ctx.tx, (event.repository, event.issue, event.route), ctx.now())
    if isinstance(event, AgentReply):
        replies = decide.replied(thread.replies, event)
        if replies != thread.replies:
            await tables.reply(ctx.tx, thread, replies, again=decide.is_asked_for(replies))
        return
    jobs = decide.merged(thread.jobs, event)
    if usage := decide.usage_in(event):
        at = (event.repository, event.issue)
        await tables.use(ctx.tx, at, event.job_id, usage, ctx.now())
    if jobs != thread.jobs:
        await tables.change(ctx.tx, thread, jobs, minor=decide.is_minor(event))
