"""What `GET /metrics` of webhook-receiver says of its ledger, and of what is not there."""

from __future__ import annotations

from functions.kit.context import Context
from functions.kit.telemetry import Gauge
from functions.webhook_receiver import tables
from functions.webhook_receiver.reconcile import comparison, hook_tables
from functions.webhook_receiver.reconcile.health import alert_names, hook_names, issue_names


async def gauges(ctx: Context) -> list[Gauge]:
    async with ctx.store.connection() as connection:
        count = await tables.counts(connection)
        compared = await comparison.every(connection)
        lacking = await hook_tables.lacking(connection)
    states = {"accepted": count.accepted, "failed": count.failed}
    unsent, day = "Deliveries that are not sent", "Deliveries that came in the last 24 hours"
    found = [Gauge("deliveries", unsent, states[s], {"state": s}) for s in states]
    found.append(Gauge("deliveries_last_day", day, count.last_day))
    found += [
        _compared(compared[name], ctx)
        for name in (*hook_names(ctx), *issue_names(ctx), *alert_names(ctx))
        if name in compared
    ]
    for name in hook_names(ctx):
        number, oldest = lacking.get(name, (0, ctx.now()))
        found += [
            Gauge("deliveries_missing", "Deliveries that are not here", number, {"hook": name}),
            Gauge(
                "deliveries_missing_oldest_seconds",
                "Seconds since the oldest delivery was made that is not here",
                (ctx.now() - oldest).total_seconds(),
                {"hook": name},
            ),
        ]
    return found


def _compared(known: comparison.Comparison, ctx: Context) -> Gauge:
    since = known.checked_at or known.made_at
    return Gauge(
        "deliveries_compared_age_seconds",
        "Seconds since all was compared with its source",
        (ctx.now() - since).total_seconds(),
        {"comparison": known.name},
    )
