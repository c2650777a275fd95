"""`GET /runs` of every function that has an inbox: what ran when, and what it said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from functions.kit import inbox
from functions.kit.errors import PermanentError

if TYPE_CHECKING:
    from functions.kit.context import Context


async def runs(request: Request, ctx: Context) -> Response:
    """`?limit=20&since=&before=&answers=true`, instants in RFC 3339: newest first.

    With `answers` each good run carries the events that it emitted.
    """
    query = request.query_params
    text = query.get("limit", "20")
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise PermanentError("limit: must be a number from 1 to 1000")
    if query.get("answers", "false") not in ("true", "false"):
        raise PermanentError("answers: must be true or false")
    wanted = inbox.Wanted(
        int(text),
        _instant(query, "since"),
        _instant(query, "before"),
        query.get("answers") == "true",
    )
    rows = await inbox.runs(ctx.store, ctx.function, wanted)
    return Response(json.dumps({"runs": rows}, default=str), media_type="application/json")


def _instant(query: Mapping[str, str], name: str) -> datetime | None:
    if name not in query:
        return None
    try:
        return datetime.fromisoformat(query[name]).astimezone(UTC)
    except (ValueError, OverflowError):
        raise PermanentError(f"{name}: must be an instant such as 2026-03-02T08:00:00Z") from None
