"""The gauges of job-launcher: its Jobs by state, and its queue."""

from __future__ import annotations

import logging

from functions.job_launcher import budget_usage, listing
from functions.kit.context import Context
from functions.kit.settings import BadSetting
from functions.kit.telemetry import Gauge

logger = logging.getLogger(__name__)


async def gauges(ctx: Context) -> list[Gauge]:
    async with ctx.store.connection() as connection:
        count, oldest_s = await listing.count_by_state(connection)
        try:
            of_groups = await budget_usage.read(ctx, connection)
        except BadSetting as error:  # the routes cannot be read; the queue is there all the same
            logger.warning("cannot read budgets: %s", error)
            of_groups = {}
    used = "Share of its budget of today that a group has used"
    oldest = "Age of the oldest request in the queue, seconds"
    return [
        *(Gauge("jobs", "Jobs by state", count[s], {"state": s}) for s in count),
        Gauge("function_queue_waiting", "Requests in the queue", count["queued"]),
        Gauge("function_queue_oldest_seconds", oldest, oldest_s),
        *(
            Gauge("job_budget_used_ratio", used, one.ratio(unit), {"group": group, "unit": unit})
            for group, one in of_groups.items()
            for unit in one.limits.limits
        ),
    ]
