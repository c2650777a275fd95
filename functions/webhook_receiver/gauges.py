"""What `GET /metrics` of webhook-receiver says of its ledger, which is its outbox."""

from __future__ import annotations

from functions.kit.context import Context
from functions.kit.telemetry.metrics import Gauge
from functions.webhook_receiver import tables


async def gauges(ctx: Context) -> list[Gauge]:
    async with ctx.store.connection() as connection:
        count, oldest_s = await tables.standing(connection)
    oldest = "Seconds for which the oldest event has waited to leave"
    return [
        *(Gauge("deliveries", "Deliveries by state", count[s], {"state": s}) for s in count),
        Gauge("function_outbox_waiting", "Events that have not left yet", count["accepted"]),
        Gauge("function_outbox_oldest_seconds", oldest, oldest_s),
    ]
