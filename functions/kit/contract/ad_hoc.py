"""An ad-hoc request: plain JSON or YAML, read as the data of the function's request event."""

from __future__ import annotations

import hashlib
import json
from uuid import uuid4

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from functions.events.base import AnyEvent
from functions.kit import cloudevents
from functions.kit.clients.off_loop import off_loop
from functions.kit.context import Context
from functions.kit.contract import envelope
from functions.kit.contract.documents import parsed
from functions.kit.contract.handle import AD_HOC, Spec, handle
from functions.kit.contract.problem import failure
from functions.kit.telemetry import correlation


async def answer_ad_hoc(spec: Spec, ctx: Context, request: HttpRequest, body: bytes) -> Response:
    """Answer an ad-hoc request with JSON, or with what the function renders of its events."""
    key = request.headers.get("idempotency-key") or str(uuid4())
    try:
        if spec.request is AnyEvent or not spec.ad_hoc:
            raise cloudevents.NotAnEvent(["this function takes CloudEvents only: send ce- headers"])
        message = cloudevents.Message(
            id=key,
            source=AD_HOC,
            type=spec.request.type,
            data=await off_loop(len(body), _as_json, request, body),
            datacontenttype="application/json",
            time=cloudevents.format_time(ctx.now()),
            extensions=correlation.of_call(request.scope["headers"]),
        )
        event = envelope.open_(message, (spec.request,))
        envelope.check_time(event, ctx.now())
        digest = hashlib.sha256(event.model_dump_json().encode()).hexdigest()
        sent = await handle(spec, ctx, message, event, digest)
        to_sink = bool(ctx.resources.process.k_sink)
        if to_sink and not spec.inbox:
            await ctx.publisher.publish(sent)
        accept = request.headers.get("accept", "")
        for media_type, render in spec.renders.items():
            if media_type in accept:
                events = [envelope.open_(m, spec.emits) for m in sent]
                return Response(render(events), media_type=media_type)
        answer = {"events": [cloudevents.to_json(m) for m in sent], "published": to_sink}
        return JSONResponse(answer, headers={"Idempotency-Key": key})
    except Exception as error:
        response = failure(error)
        response.headers["Idempotency-Key"] = key
        return response


def _as_json(request: HttpRequest, body: bytes) -> bytes:
    """The data as JSON: it may be YAML, and no data is an empty object."""
    if "yaml" not in request.headers.get("content-type", ""):
        return body or b"{}"
    return json.dumps(parsed(body) or {}).encode()
