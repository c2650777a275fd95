"""One wake-up: reconcile every schedule's ledger with the clock, and send what is to run.

Kubernetes and the files are asked before the transaction; in it the rows and the events that they
cause are written together. Two who wake at once decide the same, and one of them writes it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from functions.kit import cloudevents
from functions.kit.durable import UserAction, history, record_action
from functions.kit.errors import TooLate
from functions.kit.telemetry import trace
from functions.scheduler import calendars, messages, schedule_rows, sources, tick_rows
from functions.scheduler.decide.calendar import Calendar
from functions.scheduler.decide.ends import LEFT, Moved, Run, moved
from functions.scheduler.decide.nominal import version_at
from functions.scheduler.decide.reconcile import close, reconcile
from functions.scheduler.decide.tick import State, Tick
from functions.scheduler.schedule_rows import Ledger
from functions.scheduler.settings import SchedulerSettings
from functions.scheduler.tick_rows import Change, Unfinished

if TYPE_CHECKING:
    from functions.kit.context import Context

logger = logging.getLogger(__name__)

# A schedule of which nothing is due moves on so seldom: each row that is written costs.
QUIET = timedelta(hours=1)
# A failed run that is redriven by then still closes its tick as done.
REDRIVEN = timedelta(days=7)


@dataclass(frozen=True)
class Woken:
    """What is still open after a wake-up, and the schedules that Kubernetes answered, if it did."""

    unfinished: int
    sources: Mapping[str, sources.Source] | None


async def wake(ctx: Context) -> Woken:
    """Look at every schedule once."""
    known_days = read_calendars(ctx)
    now = ctx.now()  # before Kubernetes is asked: of what comes later it knows nothing
    found = await sources.read(ctx)
    await close_ended(ctx, now)
    ledgers = await read_ledgers(ctx)
    if found is not None and await follow(ctx, found, ledgers, now):
        ledgers = await read_ledgers(ctx)
    gone = set[str]()
    if found is not None:
        gone = ledgers.keys() - {name for name, source in found.items() if source.policy}
    # While Kubernetes is away a time may be due by a change that is not known yet.
    quiet = QUIET if found is not None else timedelta.max
    changes = [
        change
        for name, ledger in ledgers.items()
        if (change := decided(ledger, now, known_days, quiet, gone=name in gone)) is not None
    ]
    await settle(ctx, ledgers, changes, now)
    open_ = {
        (ledger.schedule.name, tick.nominal): tick.state
        for ledger in ledgers.values()
        for tick in ledger.schedule.open
    }
    open_ |= {
        (change.name, tick.nominal): tick.state for change in changes for tick in change.ticks
    }
    running = (State.SENT, State.RUNNING)
    return Woken(sum(state in running for state in open_.values()), found)


def read_calendars(ctx: Context) -> Mapping[str, Calendar]:
    """The calendars; they are read each time, as a ConfigMap changes under a running process."""
    folder = ctx.settings(SchedulerSettings).calendars_folder
    found, problems = calendars.read(Path(folder)) if folder else ({}, [])
    for problem in problems:
        logger.error("a calendar cannot be read: %s", problem)
    return found


def decided(
    ledger: Ledger,
    now: datetime,
    days: Mapping[str, Calendar],
    quiet: timedelta,
    *,
    gone: bool = False,
) -> Change | None:
    """What is to be written about a schedule; None where nothing is, for as long as `quiet`."""
    schedule = ledger.schedule
    if gone:
        ticks = close(schedule, now, days)
        return Change(schedule.name, ledger.revision, now, ticks, schedule.pause, removed=True)
    decision = reconcile(schedule, now, days)
    same = not decision.ticks and decision.pause == schedule.pause
    if same and now - schedule.reconciled_until < quiet:
        return None
    sent = frozenset(tick.nominal for tick in decision.send)
    ticks = (*decision.ticks, *decision.cancel)
    return Change(schedule.name, ledger.revision, now, ticks, decision.pause, sent)


async def close_ended(ctx: Context, now: datetime) -> None:
    """Write how the ticks that were sent have ended, as the functions' histories say."""
    async with ctx.store.connection() as connection:
        unfinished = await tick_rows.unfinished(connection, now - REDRIVEN)
        old = any(one.tick.state is State.SENT and now - one.since > LEFT for one in unfinished)
        kept = await tick_rows.not_taken(connection) if old else {}
    if not unfinished:
        return
    named = [(messages.SOURCE, messages.event_id(one.schedule, one.tick)) for one in unfinished]
    runs: dict[str, list[Run]] = {}
    for row in await history.runs_of(ctx.store, named):
        detail = row["detail"] or ""
        # By its detail too until the release after 0.2: functions of the one before write the kind
        # `temporary`, and a deploy replaces them one by one.
        late = row["failure_kind"] == TooLate.kind or detail.startswith("TooLate:")
        run = Run(row["function"], row["number"], row["outcome"] == "ok", detail, late)
        runs.setdefault(row["event_id"], []).append(run)
    moves, waiting = list[tuple[str, Moved]](), list[Unfinished]()
    for one, (_, event_id) in zip(unfinished, named, strict=True):
        own = [run for run in runs.get(event_id, []) if run.number > one.after_run]
        if one.tick.state is State.SENT and event_id in kept and not kept[event_id]:
            waiting.append(one)
        elif (move := moved(one.tick, one.since, own, now, kept.get(event_id))) is not None:
            moves.append((one.schedule, move))
    if waiting:
        async with ctx.store.transaction() as tx:
            await tick_rows.wait(tx, waiting, now)
    if not moves:
        return
    durable = ctx.resources.durable
    async with ctx.store.transaction() as tx:
        recovered = [messages.recovered(*one, now) for one in await tick_rows.move(tx, moves, now)]
        entries = await durable.put(tx, ctx.function, trace.created(recovered))
    durable.deliver(entries)


async def read_ledgers(ctx: Context) -> Mapping[str, Ledger]:
    async with ctx.store.connection() as connection:
        return await schedule_rows.load(connection)


async def follow(
    ctx: Context,
    found: Mapping[str, sources.Source],
    ledgers: Mapping[str, Ledger],
    now: datetime,
) -> bool:
    """Take over what has changed in the PingSources that have policies; False where nothing has."""
    wanted = {name: source for name, source in found.items() if source.policy}
    good = [source for source in wanted.values() if not source.problem]
    changed = [
        source
        for source in good
        if source.name not in ledgers or not ledgers[source.name].matches(source)
    ]
    problems = {
        name: wanted[name].problem
        for name, ledger in ledgers.items()
        if name in wanted and wanted[name].problem != ledger.problem
    }
    for source in wanted.values():
        if source.problem:
            logger.warning("PingSource %s is not followed: %s", source.source, source.problem)
    if not (changed or problems):
        return False
    async with ctx.store.transaction() as tx:
        await schedule_rows.follow(tx, changed, now)
        await schedule_rows.remark(tx, problems)
    return True


async def settle(
    ctx: Context,
    ledgers: Mapping[str, Ledger],
    changes: list[Change],
    now: datetime,
    action: UserAction | None = None,
) -> set[str]:
    """Write rows and events together, and the `action` that caused them; returns the schedules for
    which that was ours to do."""
    if not changes:
        return set()
    durable, sent = ctx.resources.durable, list[cloudevents.Message]()
    async with ctx.store.transaction() as tx:
        won = await schedule_rows.settle(tx, changes, now)
        for change in changes:
            if change.name in won:
                ledger = ledgers[change.name]
                sent += [
                    message_of(ledger, tick, change, now)
                    for tick in change.ticks
                    if tick.nominal in change.sent
                ]
        if action is not None and won:
            await record_action(tx, ctx.function, action, now)
        entries = await durable.put(tx, ctx.function, trace.created(sent))
    durable.deliver(entries)
    for message in sent:
        logger.info("due", extra={"fields": {"event_id": message.id}})
    return won


def message_of(ledger: Ledger, tick: Tick, change: Change, now: datetime) -> cloudevents.Message:
    """The event of a schedule's tick, as it was defined at that time."""
    version = version_at(ledger.schedule.versions, tick.nominal)
    return messages.due(
        ledger.schedule.name,
        tick,
        data=version.data,
        extensions=version.extensions,
        now=now,
        due_by=messages.due_by(version, tick, now),
        requested_by=change.requested_by or "",
        cause=change.cause,
    )
