"""What `GET /metrics` of job-launcher says of its Jobs and its queue."""

from __future__ import annotations

from functions.job_launcher import listing
from functions.kit.context import Context
from functions.kit.telemetry.metrics import Gauge


async def gauges(ctx: Context) -> list[Gauge]:
    async with ctx.store.connection() as connection:
        count, oldest_s = await listing.count_by_state(connection)
    oldest = "Seconds for which the oldest request has waited for its turn"
    return [
        *(Gauge("jobs", "Jobs by state", count[s], {"state": s}) for s in count),
        Gauge("function_queue_waiting", "Requests that wait for their turn", count["queued"]),
        Gauge("function_queue_oldest_seconds", oldest, oldest_s),
    ]
