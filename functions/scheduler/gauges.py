"""What `GET /metrics` of the scheduler says of the ledger."""

from __future__ import annotations

from functions.kit.context import Context
from functions.kit.metrics import Gauge
from functions.scheduler import tables


async def gauges(ctx: Context) -> list[Gauge]:
    async with ctx.store.connection() as connection:
        totals = await tables.totals(connection)
        late = await tables.lateness(connection)
    counted = "Nominal times of schedules that have come to a state, by the reason for it"
    lateness = "Seconds from when a schedule was due to when it was sent, at its latest run"
    return [
        *(
            Gauge(
                "schedule_ticks_total",
                counted,
                row["ticks"],
                {"state": row["state"], "reason": row["cause"]},
                kind="counter",
            )
            for row in totals
        ),
        *(
            Gauge("schedule_lateness_seconds", lateness, row["late_s"], {"schedule": row["name"]})
            for row in late
        ),
    ]
