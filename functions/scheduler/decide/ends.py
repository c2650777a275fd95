"""How a tick that was sent has ended: as the functions that handled it recorded their runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from functions.scheduler.decide.tick import UNFINISHED, Cause, State, Tick

# A broker tries a failed delivery again: so long after the first failure it has given up.
RETRIED = timedelta(minutes=10)
# A tick that was sent so long ago has left, unless the Broker does not take its event.
LEFT = timedelta(minutes=5)
# So long after it was sent, no function will take it any more.
SILENT = timedelta(minutes=30)


@dataclass(frozen=True)
class Run:
    """One run of a function for a tick's event, as its history has it.

    `late`: the event came after its `dueby`, and the function did nothing.
    """

    function: str
    number: int
    ok: bool
    detail: str = ""
    late: bool = False


@dataclass(frozen=True)
class Moved:
    """A tick in its new state, and the run that decides it."""

    tick: Tick
    run: Run | None = None


def moved(
    tick: Tick, since: datetime, runs: Sequence[Run], now: datetime, refusal: int | None = None
) -> Moved | None:
    """What became of a tick that is sent, running or failed; None where nothing is new.

    `since`: when it came to this state. `runs`: those since it was sent, in order. It is done when
    the last run of each function that handled it was good, and one that was too late after a good
    one is only a repeat; while one of them has failed and may be tried again, it is running.
    `refusal`: the status by which the Broker refused its event for good. Which functions there are
    is not known: a schedule that two of them take is done once all that have begun are, so give
    each function a schedule of its own.
    """
    good = {run.function for run in runs if run.ok}
    runs = [run for run in runs if not (run.late and run.function in good)]
    last = {run.function: run for run in runs}
    bad = [run for run in last.values() if not run.ok]
    if last and not bad:
        return Moved(replace(tick, state=State.DONE), runs[-1])
    if bad and tick.state in UNFINISHED and all(run.late for run in bad):
        reason = f"{bad[-1].function}: {bad[-1].detail}"
        missed = replace(tick, state=State.MISSED, cause=Cause.LATE, reason=reason)
        return Moved(missed, bad[-1])
    if bad and tick.state is State.SENT:
        return Moved(replace(tick, state=State.RUNNING), bad[-1])
    if bad and tick.state is State.RUNNING and now - since > RETRIED:
        reason = f"{bad[-1].function}: {bad[-1].detail}"
        return Moved(_failed(tick, Cause.RUN_FAILED, reason), bad[-1])
    if not last and tick.state is State.SENT and now - since > SILENT:
        reason = f"no function has recorded a run of it within {SILENT}"
        if refusal:
            reason = f"the Broker refused it: {refusal}"
        return Moved(_failed(tick, Cause.NO_ANSWER, reason))
    return None


def _failed(tick: Tick, cause: Cause, reason: str) -> Tick:
    return replace(tick, state=State.FAILED, cause=cause, reason=reason)
