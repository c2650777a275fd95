"""Which of the times that were missed still run: by `missed` and `missed-window` of the policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from functions.schedule_policy import Missed
from functions.scheduler.decide.nominal import Version, cron_of, version_at
from functions.scheduler.decide.tick import Cause, Origin, State, Tick, shown

ON_TIME = timedelta(seconds=90)  # a wake-up comes each minute, and takes a moment


def missed(
    versions: Sequence[Version], ticks: Sequence[Tick], now: datetime, paused: str
) -> Iterator[Tick]:
    """Decide which of the times that came due while nothing looked still run.

    What waits for another run, or for the end of a pause (`paused`: why, empty where there is
    none), came due in time: only its window ends.
    """
    due = [tick for tick in ticks if tick.state is State.DUE and tick.due <= now]
    came = [t.nominal for t in due if t.cause not in (Cause.WAITING, Cause.NO_CALENDAR)]
    for tick in ticks:
        if tick.state is State.DUE and tick.cause is Cause.NO_CALENDAR:
            version = version_at(versions, tick.nominal)
            over = f"{tick.reason}, and missed-window is {_window(version)}"
            is_open = _in_window(version, tick, now)
            yield tick if is_open else replace(tick, state=State.MISSED, reason=over)
            continue
        if tick not in due or now - tick.due <= ON_TIME:
            yield tick
            continue
        version = version_at(versions, tick.nominal)
        policy = version.policy
        late = f"nothing looked at the schedule until {shown(now)}"
        if tick.reason:
            is_known = tick.cause in (Cause.WAITING, Cause.LATE)
            late = tick.reason if is_known else f"{tick.reason}; {late}"
        as_missed = replace(tick, state=State.MISSED, cause=Cause.LATE)
        is_open = _in_window(version, tick, now)
        if tick.cause is Cause.WAITING and is_open:
            yield tick
        elif tick.cause is Cause.WAITING and paused:
            yield replace(tick, state=State.SKIPPED, cause=Cause.PAUSED, reason=paused)
        elif policy.missed is Missed.NONE and tick.cause is not Cause.WAITING:
            yield replace(as_missed, reason=f"{late}, and missed is none")
        elif policy.missed is Missed.LATEST and tick.nominal < max(came, default=tick.nominal):
            yield replace(as_missed, reason=f"{late}; a later time runs instead")
        elif not is_open:
            yield replace(as_missed, reason=f"{late}, and missed-window is {_window(version)}")
        else:
            yield replace(tick, origin=Origin.CATCH_UP, reason=late, cause=Cause.LATE)


def _window(version: Version) -> str:
    return str(version.policy.missed_window or "the same day")


def _in_window(version: Version, tick: Tick, now: datetime) -> bool:
    if version.policy.missed_window is not None:
        return now - tick.due <= version.policy.missed_window
    zone = cron_of(version).zone
    return now.astimezone(zone).date() == tick.due.astimezone(zone).date()
