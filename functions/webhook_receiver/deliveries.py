"""Looking into the ledger, and sending from it again; for those who hold a token or a CLI secret.

A request without a body is signed over `METHOD target`, such as `GET /deliveries?state=failed`,
in the place of the body, so that a signature for looking is none for sending.
"""

from __future__ import annotations

import hmac
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions.kit import cloudevents
from functions.kit.context import Context
from functions.kit.contract import Query, page
from functions.kit.errors import Conflict, NotFound, Unauthenticated
from functions.webhook_receiver import tables
from functions.webhook_receiver.intake import SOURCES
from functions.webhook_receiver.refusals import Malformed, NotConfigured
from functions.webhook_receiver.senders import standard_webhooks
from functions.webhook_receiver.settings import ReceiverSettings
from functions.webhook_receiver.state import Receiver

STATES = ("accepted", "published", "failed")


async def listing(request: Request, ctx: Context) -> Response:
    """`?state=&source=&limit=50&cursor=`: newest first, without payloads."""
    prove(request, ctx)
    query = Query(request, Malformed)
    limit = query.limit()
    async with ctx.store.connection() as connection:
        found = await tables.find(
            connection,
            state=query.choice("state", STATES),
            source=query.choice("source", SOURCES),
            before=query.cursor("before"),
            limit=limit + 1,
        )
    shown, following = page(found, limit, lambda row: row["number"])
    # `next_before` is the old name of `next`, for one release.
    named = {"next": following, "next_before": following}
    return JSONResponse({"deliveries": [_shown(row) for row in shown], **named})


async def redeliver(request: Request, ctx: Context) -> Response:
    """Send a delivery again, under its old id: who handled it before will know it."""
    prove(request, ctx)
    source = Query(request, Malformed).choice("source", SOURCES)
    id = request.path_params["id"].replace("\0", "")
    found = await ctx.part(Receiver).ledger.redeliver(id, source)
    if not found:
        raise NotFound("no such delivery")
    if len(found) > 1:
        raise Conflict(f"several sources have it: add ?source={found[0]['source']}")
    return JSONResponse(_shown(found[0]), 202)


async def redeliver_all(request: Request, ctx: Context) -> Response:
    """`?state=failed&source=&since=`: send them all again, as when a broker is mended."""
    prove(request, ctx)
    query = Query(request, Malformed)
    state = query.choice("state", ("failed", "published")) or "failed"
    since, source = query.instant("since"), query.choice("source", SOURCES)
    if state == "published" and since is None:
        raise Malformed("since: give an instant, as these were sent")
    count = await ctx.part(Receiver).ledger.redeliver_all(state, source, since)
    return JSONResponse({"redelivered": count}, 202)


def prove(request: Request, ctx: Context) -> None:
    """Return where a user may look; else `Unauthenticated` or `NotConfigured`."""
    settings: ReceiverSettings = ctx.part(Receiver).settings
    keys = settings.secrets["cli"]
    if not settings.tokens and not keys:
        raise NotConfigured("no user may look: set DELIVERIES_TOKENS or CLI_WEBHOOK_SECRETS")
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        given = token.strip().encode("latin-1", "replace")
        if not any(hmac.compare_digest(given, known) for known in settings.tokens):
            raise Unauthenticated("the token is not one of DELIVERIES_TOKENS")
        return
    query = request.scope["query_string"]
    target = request.scope["path"].encode("utf-8", "replace") + (b"?" + query if query else b"")
    signed = request.method.encode() + b" " + target
    proof = standard_webhooks.proof(keys, request.headers, ctx.now().timestamp())
    proof.update(signed)
    proof.check()


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"received_at": cloudevents.format_time(row["received_at"])}
