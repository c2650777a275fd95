"""`GET /runs` of every function that keeps a record: what ran when, and what it said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from functions.kit import cloudevents
from functions.kit.contract.routes import number
from functions.kit.durable import history
from functions.kit.errors import PermanentError

if TYPE_CHECKING:
    from functions.kit.context import Context

_MOST_IDS = 200


async def runs(request: Request, ctx: Context) -> Response:
    """`?limit=20&since=&before=&type=&outcome=&id=&after=`, instants in RFC 3339: newest first.

    `id` may be given several times; `after` is the `next` of the page before. With `latest=true`
    only the newest run of each name: an id up to its `@`. With `answers=true` each good run
    carries the events that it emitted. With `tally=true` the answer counts, by type, all runs of
    the time, however few are listed.
    """
    query = request.query_params
    limit = number(query.get("limit", "20"), "limit", 1, 1000)
    ids = query.getlist("id") or None
    if ids and len(ids) > _MOST_IDS:
        raise PermanentError(f"id: at most {_MOST_IDS} at once")
    if query.get("outcome") not in (None, "ok", "failed"):
        raise PermanentError("outcome: must be ok or failed")
    wanted = history.Wanted(
        limit=limit + 1,
        since=_instant(query, "since"),
        before=_instant(query, "before"),
        type=query.get("type"),
        outcome=query.get("outcome"),
        ids=ids,
        after=number(query["after"], "after", 1, 2**62) if "after" in query else None,
        latest=_flag(query, "latest"),
        answers=_flag(query, "answers"),
    )
    rows = await history.runs(ctx.store, ctx.function, wanted)
    shown = rows[:limit]
    said: dict[str, Any] = {"runs": shown, "next": None}
    if len(rows) > limit:
        said["next"] = shown[-1]["number"]
    if _flag(query, "tally"):
        said["tally"] = await history.summary(ctx.store, ctx.function, wanted)
    return Response(
        json.dumps(said, default=cloudevents.format_time), media_type="application/json"
    )


def _flag(query: Mapping[str, str], name: str) -> bool:
    if query.get(name, "false") not in ("true", "false"):
        raise PermanentError(f"{name}: must be true or false")
    return query.get(name) == "true"


def _instant(query: Mapping[str, str], name: str) -> datetime | None:
    if name not in query:
        return None
    try:
        return datetime.fromisoformat(query[name]).astimezone(UTC)
    except (ValueError, OverflowError):
        raise PermanentError(f"{name}: must be an instant such as 2026-03-02T08:00:00Z") from None
