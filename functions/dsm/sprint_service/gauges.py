"""What `GET /metrics` of sprint-service reports of its outbox."""

from __future__ import annotations

from functions.dsm.sprint_service import tables
from functions.kit.context import Context
from functions.kit.telemetry import Gauge


async def gauges(ctx: Context) -> list[Gauge]:
    async with ctx.store.connection() as connection:
        waiting, oldest_s = await tables.standing(connection)
    oldest = "Seconds for which the oldest message has waited to leave"
    return [
        Gauge("function_outbox_waiting", "Messages that have not left yet", waiting),
        Gauge("function_outbox_oldest_seconds", oldest, oldest_s),
    ]
