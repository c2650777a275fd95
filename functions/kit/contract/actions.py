"""`GET /actions?limit=50&cursor=`: what users did in a function, newest first."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions.kit.context import Context
from functions.kit.contract.query import Query, page
from functions.kit.contract.routes import route
from functions.kit.durable import user_actions


async def _newest(request: Request, ctx: Context) -> Response:
    query = Query(request)
    query.refuse_others("limit", "cursor")
    limit = query.limit()
    async with ctx.store.connection() as connection:
        rows = await user_actions.newest(connection, ctx.function, limit + 1, query.cursor())
    shown, following = page(rows, limit, lambda row: row["number"])
    return JSONResponse({"actions": list(shown), "next": following})


ACTIONS = route("/actions", _newest)
