"""What `GET /metrics` of dead-letter reports."""

from __future__ import annotations

from functions.dead_letter import tables
from functions.kit.context import Context
from functions.kit.telemetry import Gauge


async def gauges(ctx: Context) -> list[Gauge]:
    async with ctx.store.connection() as connection:
        count, oldest_s, ever = await tables.counts(connection)
    kept = "Dead letters ever kept, repeats too"
    oldest = "Seconds for which the oldest open dead letter has waited for a user"
    return [
        *(Gauge("dead_letters", "Dead letters by state", count[s], {"state": s}) for s in count),
        Gauge("dead_letters_oldest_open_seconds", oldest, oldest_s),
        Gauge("dead_letters_kept_total", kept, ever, kind="counter"),
    ]
