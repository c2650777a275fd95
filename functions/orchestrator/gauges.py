"""What `GET /metrics` of the orchestrator says of its runs, timers and outbox."""

from __future__ import annotations

from functions.kit.context import Context
from functions.kit.metrics import Gauge
from functions.orchestrator import overdue
from functions.orchestrator.decide.model import RunStatus
from functions.orchestrator.orchestrator import Orchestrator, utc_now


async def gauges(ctx: Context) -> list[Gauge]:
    async with ctx.store.connection() as connection:
        found = await overdue.standing(connection)
    silent_s = (utc_now() - ctx.part(Orchestrator).clockwork.looked_at).total_seconds()
    count = {status.value: 0 for status in RunStatus} | found.runs
    waiting = "Seconds for which the oldest run has waited for a worker to register"
    timer = "Seconds by which the oldest timer is late"
    silent = "Seconds since this process last looked at timers and outbox without an error"
    oldest = "Seconds for which the oldest event has waited to leave"
    return [
        *(Gauge("saga_runs", "Runs by status", count[s], {"status": s}) for s in count),
        Gauge("saga_waiting_oldest_seconds", waiting, found.waiting_s),
        Gauge("saga_timer_late_seconds", timer, found.timer_s),
        Gauge("saga_clock_silent_seconds", silent, silent_s),
        Gauge("function_outbox_waiting", "Events that have not left yet", found.unsent),
        Gauge("function_outbox_oldest_seconds", oldest, found.unsent_s),
    ]
