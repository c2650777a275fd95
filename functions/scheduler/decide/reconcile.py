"""Reconcile a schedule's ledger with the clock: one row for each nominal time, and why.

Nothing here reacts to a tick. However often it is called, the ledger becomes what the expression,
the policies and the time say; a tick that was lost, doubled or late changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from functions.schedule_policy import Holiday
from functions.scheduler.decide.calendar import Calendar
from functions.scheduler.decide.holiday import shifted
from functions.scheduler.decide.missed import missed
from functions.scheduler.decide.nominal import Version, jittered, times, version_at
from functions.scheduler.decide.overlap import turns
from functions.scheduler.decide.tick import UNFINISHED, Cause, Origin, State, Tick, shown

BY_FAILURES = "scheduler"  # who pauses a schedule whose runs fail
MAX_SHIFT = timedelta(days=31)  # how far a holiday may move a time
_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Pause:
    """Who paused a schedule, why, and until when; None: until a user resumes it.

    `since`: the times before it are none of its business; None: it covers whatever is not decided.
    """

    by: str
    reason: str
    until: datetime | None = None
    since: datetime | None = None


@dataclass(frozen=True)
class Schedule:
    """What the ledger knows: `open` are the rows that are due, sent or running.

    `versions` in the order of `valid_from`; `failures` are the latest ends in a row that failed;
    `ahead` the nominal times after `reconciled_until` that have a row, as a holiday moved them.
    """

    name: str
    versions: Sequence[Version]
    reconciled_until: datetime
    open: Sequence[Tick] = ()
    pause: Pause | None = None
    failures: int = 0
    ahead: frozenset[datetime] = frozenset()


@dataclass(frozen=True)
class Decision:
    """Rows to write, those of them to send, those to cancel, and the pause from now on."""

    ticks: tuple[Tick, ...]
    send: tuple[Tick, ...]
    cancel: tuple[Tick, ...]
    pause: Pause | None


def reconcile(schedule: Schedule, now: datetime, calendars: Mapping[str, Calendar]) -> Decision:
    """What becomes of each nominal time since the last time, and of what is still open."""
    pause = _pause(schedule, now)
    new = [
        first_state(schedule, version, at, covering(pause or schedule.pause, at), calendars)
        for version, at in _nominal(schedule, now, calendars)
    ]
    waiting = [
        _judged(schedule, tick, pause, now, calendars)
        for tick in schedule.open
        if tick.state is State.DUE
    ]
    paused = _paused(pause) if pause else ""
    timely = list(missed(schedule.versions, [*waiting, *new], now, paused))
    running = [tick for tick in schedule.open if tick.state in UNFINISHED]
    found = turns(
        version_at(schedule.versions, now).policy.overlap,
        sorted((tick for tick in timely if _may_run(tick)), key=lambda t: t.due),
        running,
        now,
        paused,
    )
    decided = {tick.nominal: tick for tick in (*timely, *found.ticks)}
    before = {tick.nominal: tick for tick in schedule.open}
    changed = tuple(t for at, t in sorted(decided.items()) if before.get(at) != t)
    sent = tuple(tick for tick in found.ticks if tick.state is State.SENT)
    return Decision(changed, sent, tuple(found.cancelled), pause)


def close(schedule: Schedule, now: datetime, calendars: Mapping[str, Calendar]) -> tuple[Tick, ...]:
    """What becomes of each nominal time that is not decided yet, as the PingSource is gone."""
    new = [
        first_state(schedule, version, at, covering(schedule.pause, at), calendars)
        for version, at in _nominal(schedule, now, calendars)
    ]
    waiting = [tick for tick in schedule.open if tick.state is State.DUE]
    reason = f"its PingSource was gone, or had no policies any more, at {shown(now)}"
    return tuple(
        replace(tick, state=State.SKIPPED, cause=Cause.REMOVED, reason=reason)
        if tick.state is State.DUE
        else tick
        for tick in (*waiting, *new)
    )


def _may_run(tick: Tick) -> bool:
    return tick.state is State.DUE and tick.cause is not Cause.NO_CALENDAR


def _judged(
    schedule: Schedule,
    tick: Tick,
    pause: Pause | None,
    now: datetime,
    calendars: Mapping[str, Calendar],
) -> Tick:
    """What becomes of a time that is due; one that waits for its calendar is judged by it."""
    if tick.cause is not Cause.NO_CALENDAR:
        return tick
    version = version_at(schedule.versions, tick.nominal)
    covers = covering(pause or schedule.pause, tick.nominal)
    found = first_state(schedule, version, tick.nominal, covers, calendars)
    if found.state is not State.DUE or found.cause is not Cause.NONE:
        return found
    reason = f"calendar {version.policy.calendar} was missing until {shown(now)}"
    return replace(found, cause=Cause.LATE, reason=reason)


def _pause(schedule: Schedule, now: datetime) -> Pause | None:
    """The pause from now on: only its end ends it, as a user may have paused after `now`."""
    pause = schedule.pause
    if pause is not None and pause.until is not None and now >= pause.until:
        pause = None
    limit = version_at(schedule.versions, now).policy.pause_after
    if pause is None and limit and schedule.failures >= limit:
        return Pause(BY_FAILURES, f"{schedule.failures} runs failed in a row")
    return pause


def covering(pause: Pause | None, at: datetime) -> Pause | None:
    """The pause, if it covers this time: one that ends does so even after its end."""
    if pause is None or (pause.since is not None and at < pause.since):
        return None
    return pause if pause.until is None or at < pause.until else None


def _nominal(
    schedule: Schedule, now: datetime, calendars: Mapping[str, Calendar]
) -> Iterator[tuple[Version, datetime]]:
    """Each nominal time since the last look, by the version that was valid then.

    With `holiday: previous` one of the coming days may be due today: it is looked for ahead.
    """
    ends = [version.valid_from for version in schedule.versions[1:]]
    for version, end in zip(schedule.versions, [*ends, None], strict=True):
        after = max(schedule.reconciled_until, version.valid_from - _MOMENT)
        until = now if end is None else min(now, end - _MOMENT)
        found = times(version, after, until)
        yield from ((version, at) for at in found if at not in schedule.ahead)
        if end is None and version.policy.holiday is Holiday.PREVIOUS:
            for at in times(version, now, now + MAX_SHIFT):
                due, reason = shifted(version, at, calendars)
                if at in schedule.ahead or not reason or due is None:
                    continue
                if schedule.versions[0].valid_from <= due <= now:
                    yield version, at


def first_state(
    schedule: Schedule,
    version: Version,
    at: datetime,
    pause: Pause | None,
    calendars: Mapping[str, Calendar],
) -> Tick:
    """Due, or skipped and why; whether it is too late is decided for all together."""
    policy = version.policy

    def skipped(cause: Cause, reason: str) -> Tick:
        return Tick(at, at, State.SKIPPED, Origin.CLOCK, reason, cause)

    if policy.start is not None and at < policy.start:
        return skipped(Cause.BEFORE_START, f"before the schedule's start, {shown(policy.start)}")
    if policy.end is not None and at > policy.end:
        return skipped(Cause.AFTER_END, f"after the schedule's end, {shown(policy.end)}")
    if pause is not None:
        return skipped(Cause.PAUSED, _paused(pause))
    if policy.calendar and policy.calendar not in calendars:
        due, reason = at, f"calendar {policy.calendar} is missing"
        return Tick(at, due, State.DUE, Origin.CLOCK, reason, Cause.NO_CALENDAR)
    moved_to, reason = shifted(version, at, calendars)
    if moved_to is None:
        return skipped(Cause.HOLIDAY, reason)
    if reason and moved_to < schedule.versions[0].valid_from:
        return skipped(Cause.HOLIDAY, f"{reason}; that was before the schedule was known")
    moved = Cause.MOVED if reason else Cause.NONE
    due = jittered(schedule.name, moved_to, policy.jitter)
    return Tick(at, due, State.DUE, Origin.CLOCK, reason, moved)


def _paused(pause: Pause) -> str:
    return f"paused by {pause.by}: {pause.reason}"
