"""What `GET /metrics` of the scheduler reports of the ledger."""

from __future__ import annotations

from functions.kit.context import Context
from functions.kit.telemetry import Gauge
from functions.scheduler import tick_rows
from functions.scheduler.decide.tick import Cause, State
from functions.scheduler.loop import Loop

# A series that begins with 1 would be no increase to Prometheus: these begin with 0.
_ALERTED = {
    (State.MISSED, Cause.LATE): 0,
    (State.MISSED, Cause.NO_CALENDAR): 0,
    (State.FAILED, Cause.RUN_FAILED): 0,
    (State.FAILED, Cause.NO_ANSWER): 0,
}


async def gauges(ctx: Context) -> list[Gauge]:
    async with ctx.store.connection() as connection:
        totals = _ALERTED | await tick_rows.totals(connection)
        late = await tick_rows.lateness(connection)
    counted = "Nominal times of schedules that have come to a state, by the reason for it"
    lateness = "Seconds from when a schedule was due to when it was sent, at its latest run"
    unread = "PingSources whose expression or policies cannot be read, at the latest look"
    return [
        Gauge("schedules_not_followed", unread, ctx.part(Loop).not_followed),
        *(
            Gauge(
                "schedule_ticks_total",
                counted,
                ticks,
                {"state": state, "reason": cause},
                kind="counter",
            )
            for (state, cause), ticks in totals.items()
        ),
        *(
            Gauge("schedule_lateness_seconds", lateness, row["late_s"], {"schedule": row["name"]})
            for row in late
        ),
    ]
