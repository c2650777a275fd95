"""Record every event of the Broker for the console, where the Broker itself keeps none.

in      any event, by a Trigger without a filter; among them ScheduleDue(schedule="event-recorder")
out     nothing: it would record its own answer
writes  one row for each event, with the beginning of its data; a run for each tick
fails   TemporaryError while the database is unavailable
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from functions.event_recorder import decide, tables
from functions.events.base import AnyEvent
from functions.kit.cloudevents.json_data import data_member
from functions.kit.context import Context
from functions.kit.contract import Query, function, page
from functions.kit.contract.decorator import route
from functions.kit.contract.envelope import check_time
from functions.kit.contract.runs import runs
from functions.kit.durable import Rule, history, inbox, rule
from functions.kit.durable.retention import forget
from functions.kit.errors import PermanentError
from functions.kit.settings import Settings


class RecorderSettings(Settings):
    """What event-recorder stores, and for how long."""

    event_retention_days: int = Field(14, ge=1, description="how long events are kept, days")
    event_data_bytes: int = Field(
        65536, ge=0, description="how much of an event's data is kept, bytes; the rest is cut off"
    )


async def search(request: Request, ctx: Context) -> Response:
    """`?type=&subject=&trigger=&correlation=&limit=50&cursor=`: events and their deliveries."""
    query = Query(request)
    query.refuse_others(*tables.FILTERS, "limit", "cursor", "before")
    filters = {name: text for name in tables.FILTERS if (text := query.text(name))}
    limit = query.limit()
    async with ctx.store.connection() as connection:
        found = await tables.search(connection, filters, query.cursor("before"), limit + 1)
    rows, following = page(found, limit, lambda row: row["seq"])
    runs = defaultdict(list)
    for run in await history.runs_of(ctx.store, [(row["source"], row["id"]) for row in rows]):
        runs[run["event_source"], run["event_id"]].append(run)
    events = [
        decide.event_json(
            row,
            runs[row["source"], row["id"]],
            data_member(row["data"], cut=len(row["data"]) < row["size"]),
        )
        for row in rows
    ]
    return Response(
        json.dumps({"events": events, "next": following}), media_type="application/json"
    )


def retention(ctx: Context) -> Sequence[Rule]:
    """Events are kept for as long as the setting says."""
    return (rule("event", "recorded_at", ctx.settings(RecorderSettings).event_retention_days),)


@function(
    routes=[route("/events/search", search), route("/runs", runs)],
    retention=retention,
)
async def event_recorder(event: AnyEvent, ctx: Context) -> None:
    max_bytes = ctx.settings(RecorderSettings).event_data_bytes
    async with ctx.store.connection() as connection:
        await tables.insert(connection, event.ce_attributes, event.data, max_bytes, ctx.now())
    if (tick := decide.retention_tick(event.ce_attributes)) is not None:
        try:
            check_time(tick, ctx.now())
        except PermanentError:
            return  # recorded like any other event
        due = (event.ce_attributes["source"], event.ce_attributes["id"])
        key = inbox.Key(ctx.function, tick.type, tick.identity() or "", due)

        async def forget_old() -> None:
            await forget(ctx.store, ctx.function, rules=retention(ctx))

        await inbox.recorded(ctx.store, key, tick.type, forget_old)
