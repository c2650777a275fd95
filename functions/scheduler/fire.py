"""A tick that comes by itself: the clock's, of which the ledger knows, or one that a user sent."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from functions.cron import Cron
from functions.events.schedule import ScheduleDue
from functions.kit.durable import UserAction, record_action
from functions.kit.errors import Conflict, NotFound, TemporaryError
from functions.kit.telemetry import correlation, trace
from functions.scheduler import messages, schedule_rows, tick_rows
from functions.scheduler.decide.nominal import Version
from functions.scheduler.decide.tick import Cause, Origin, State, Tick
from functions.scheduler.sources import Source
from functions.scheduler.tick_rows import Change
from functions.scheduler.wake import settle

if TYPE_CHECKING:
    from functions.kit.context import Context

logger = logging.getLogger(__name__)

MINUTE = timedelta(minutes=1)
ATTEMPTS = 5  # others may decide about the same schedule meanwhile


async def fire(event: ScheduleDue, sources: Mapping[str, Source] | None, ctx: Context) -> None:
    """Run what a user asks for; about the clock's ticks the ledger has decided, late ones too.

    `sources`: None while Kubernetes cannot say which there are.
    """
    async with ctx.store.connection() as connection:
        ledger = (await schedule_rows.load(connection, [event.schedule])).get(event.schedule)
    if ledger is not None and ledger.removed:
        if sources is None:
            raise TemporaryError(f"Kubernetes does not tell whether {event.schedule} has policies")
        if event.schedule in sources:  # its policies were taken off: the ledger is of the past
            ledger = None
    if ledger is None:
        await pass_on(event, (sources or {}).get(event.schedule), ctx)
    elif not event.requested_by:
        if not any(is_due(version, event.nominal) for version in ledger.schedule.versions):
            logger.info("the tick changes nothing: no time of %s is %s", event.schedule, event.time)
    else:
        try:
            await run_now(event.schedule, event.requested_by, event.nominal, ctx, reason="")
        except Conflict as conflict:
            logger.info("the tick changes nothing: %s", conflict)


async def run_now(
    schedule: str, by: str, at: datetime, ctx: Context, reason: str | None = None
) -> Tick:
    """Send a tick for the minute `at`, whatever the policies say; `Conflict` where it has run.

    With a `reason`, be it an empty one, the user's action is put on record.
    """
    for _ in range(ATTEMPTS):
        async with ctx.store.connection() as connection:
            ledger = await schedule_rows.whole(connection, schedule)
            kept = await tick_rows.find(connection, schedule, at)
        if kept is not None and kept.state not in (State.SKIPPED, State.MISSED, State.FAILED):
            raise Conflict(f"{schedule}@{kept.name} is {kept.state} already")
        if ledger is None:
            raise NotFound(f"no schedule {schedule} has a ledger")
        tick = Tick(at, at, State.SENT, Origin.USER, f"run by {by or 'a user'}", Cause.USER)
        known = ledger.schedule
        change = Change(
            *(schedule, ledger.revision, known.reconciled_until, [tick], known.pause),
            sent=frozenset([at]),
            requested_by=by or None,
            cause=correlation.extensions(),
        )
        action = None
        if reason is not None:
            action = UserAction(by, "run", f"{schedule}@{tick.name}", reason)
        if await settle(ctx, {schedule: ledger}, [change], ctx.now(), action):
            return tick
    raise TemporaryError(f"schedule {schedule} is being changed by others")


async def pass_on(event: ScheduleDue, source: Source | None, ctx: Context) -> None:
    """A schedule without policies has no ledger: its tick goes on as it came."""
    tick = Tick(event.nominal, event.nominal, State.SENT, Origin.CLOCK)
    data = event.model_dump_json(include={"project_id", "sprint_id"}, exclude_none=True)
    message = messages.due(
        event.schedule,
        tick,
        data=data,
        extensions={} if source is None else source.extensions,
        now=ctx.now(),
        requested_by=event.requested_by or "",
        cause=correlation.extensions(),
    )
    async with ctx.store.transaction() as tx:
        if event.requested_by:
            action = UserAction(event.requested_by, "run", event.schedule)
            await record_action(tx, ctx.function, action, ctx.now())
        entries = await ctx.resources.durable.put(tx, ctx.function, trace.created([message]))
    ctx.resources.durable.deliver(entries)


async def send_now(source: Source, by: str, reason: str, ctx: Context) -> Tick:
    """Send the tick of a schedule without a ledger, as its PingSource would."""
    now = ctx.now()
    sent = Tick(now, now, State.SENT, Origin.USER, f"run by {by}", Cause.USER)
    message = messages.tick_of(source, ctx.cluster.namespace, by, now, correlation.extensions())
    action = UserAction(by, "run", source.name, reason)
    async with ctx.store.transaction() as tx:
        await record_action(tx, ctx.function, action, now)
        entries = await ctx.resources.durable.put(tx, ctx.function, trace.created([message]))
    ctx.resources.durable.deliver(entries)
    return sent


def is_due(version: Version, at: datetime) -> bool:
    """Does the clock send a tick in the minute `at`?

    >>> from datetime import UTC
    >>> version = Version(datetime(2026, 1, 1, tzinfo=UTC), "30 8 * * *", "America/Chicago")
    >>> is_due(version, datetime(2026, 1, 2, 14, 30, tzinfo=UTC))
    True
    """
    found = Cron(version.expression, version.zone).after(at - timedelta(seconds=1))
    return found is not None and found < at + MINUTE
