"""The gauges of the orchestrator: its runs and timers."""

from __future__ import annotations

from functions.kit.context import Context
from functions.kit.telemetry import Gauge
from functions.orchestrator.decide.model import RunStatus
from functions.orchestrator.engine import due_runs
from functions.orchestrator.orchestrator import Orchestrator


async def gauges(ctx: Context) -> list[Gauge]:
    async with ctx.store.connection() as connection:
        found = await due_runs.counts(connection, ctx.now())
    saga = ctx.part(Orchestrator)
    silent_s = (saga.now() - saga.timer_loop.last_fired_at).total_seconds()
    going = {s.value: 0 for s in RunStatus if not s.ended} | found.runs
    ended = {s.value: saga.engine.ended[s] for s in RunStatus if s.ended}
    runs, ends = "Runs that have not ended", "Runs that ended since this process started"
    waiting = "Seconds for which the oldest run has waited for a worker to register"
    timer = "Seconds by which the oldest timer is late"
    silent = "Seconds since this process last looked at timers without an error"
    return [
        *(Gauge("saga_runs", runs, n, {"status": status}) for status, n in going.items()),
        *(Gauge("saga_runs_ended", ends, n, {"status": status}) for status, n in ended.items()),
        Gauge("saga_waiting_oldest_seconds", waiting, found.waiting_s),
        Gauge("saga_timer_late_seconds", timer, found.timer_s),
        Gauge("saga_clock_silent_seconds", silent, silent_s),
    ]
