"""What `GET /metrics` of webhook-receiver says of its ledger."""

from __future__ import annotations

from functions.kit.context import Context
from functions.kit.telemetry.metrics import Gauge
from functions.webhook_receiver import tables


async def gauges(ctx: Context) -> list[Gauge]:
    async with ctx.store.connection() as connection:
        count = await tables.standing(connection)
    return [Gauge("deliveries", "Deliveries by state", count[s], {"state": s}) for s in count]
