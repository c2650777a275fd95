"""What becomes of a time that is due while an earlier one runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from functions.schedule_policy import Overlap
from functions.scheduler.decide.tick import Cause, State, Tick


@dataclass(frozen=True)
class Turns:
    """What becomes of the ticks that are due, and those at work that are cancelled for them."""

    ticks: list[Tick]
    cancelled: list[Tick]


def turns(
    overlap: Overlap,
    due: Sequence[Tick],
    running: Sequence[Tick],
    now: datetime,
    held: str = "",
) -> Turns:
    """Whose turn it is, one after the other, by the overlap policy; `held`: why none begins."""
    found = Turns([], [])
    at_work = list(running)
    queued: Tick | None = None
    for tick in due:
        if tick.due > now:
            found.ticks.append(tick)
            continue
        if held:
            found.ticks.append(replace(tick, reason=f"waits: {held}", cause=Cause.WAITING))
            continue
        if not at_work or overlap in (Overlap.ALLOW, Overlap.CANCEL):
            if overlap is Overlap.CANCEL:
                reason = f"cancelled: {tick.name} is due"
                if not found.cancelled:
                    found.cancelled.extend(_ended(one, State.FAILED, reason) for one in running)
                found.ticks[:] = [
                    _ended(one, State.SKIPPED, reason) if one.state is State.SENT else one
                    for one in found.ticks
                ]
                at_work.clear()
            at_work.append(tick)
            reason = tick.reason.replace("waits", "waited", 1)
            found.ticks.append(replace(tick, state=State.SENT, reason=reason))
        elif overlap is Overlap.SKIP or (overlap is Overlap.QUEUE_ONE and queued is not None):
            reason = f"{at_work[-1].name} still runs"
            if queued is not None:
                reason += f", and {queued.name} waits already"
            skipped = replace(tick, state=State.SKIPPED, reason=reason, cause=Cause.OVERLAP)
            found.ticks.append(skipped)
        else:
            queued = tick
            reason = f"waits for {at_work[-1].name}"
            found.ticks.append(replace(tick, reason=reason, cause=Cause.WAITING))
    return found


def _ended(tick: Tick, state: State, reason: str) -> Tick:
    return replace(tick, state=state, reason=reason, cause=Cause.CANCELLED)
