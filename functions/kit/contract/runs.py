"""`GET /runs` of every function that keeps a record: what ran when, and what it answered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from functions.kit import cloudevents
from functions.kit.contract.query import Query, page
from functions.kit.durable import history
from functions.kit.durable.outbox import unsent

if TYPE_CHECKING:
    from functions.kit.context import Context

_MAX_IDS = 200


async def runs(request: Request, ctx: Context) -> Response:
    """`?limit=20&cursor=&since=&before=&type=&outcome=&id=`, instants in RFC 3339: newest first.

    `id` may be given several times. With `latest=true` only the newest run of each name: an id up
    to its `@`. With `answers=true` each good run carries the events that it emitted. With
    `tally=true` the answer counts, by type, all runs of the time, whichever are listed. With
    `outbox=true` it says how many of the function's events are not sent yet, and how many of its
    inbox this process is working on, each with the age of the oldest.
    """
    query = Query(request)
    limit = query.limit(20, 1000)
    wanted = history.Wanted(
        limit=limit + 1,
        since=query.instant("since"),
        before=query.instant("before"),
        type=query.text("type"),
        outcome=query.choice("outcome", ("ok", "failed")),
        ids=query.texts("id", _MAX_IDS),
        after=query.cursor("after"),
        latest=query.flag("latest"),
        answers=query.flag("answers"),
    )
    found = await history.runs(ctx.store, ctx.function, wanted)
    shown, following = page(found, limit, lambda run: run["number"])
    answer: dict[str, Any] = {"runs": shown, "next": following}
    if query.flag("tally"):
        answer["tally"] = await history.summary(ctx.store, ctx.function, wanted)
    if query.flag("outbox"):
        left = await unsent(ctx.store, ctx.function)
        answer["outbox"] = {"waiting": left.count, "oldest_ms": 1000 * left.oldest_s}
        count, oldest_s = ctx.resources.meter.inbox
        answer["inbox"] = {"working": count, "oldest_ms": 1000 * oldest_s}
    text = json.dumps(answer, default=cloudevents.format_time)
    return Response(text, media_type="application/json")
