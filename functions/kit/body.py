"""The body of a request, up to a limit: a stranger must not fill a process's memory."""

from __future__ import annotations

from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from functions.kit.answers import refusal
from functions.kit.errors import PermanentError


class TooLarge(PermanentError):
    """The body is over the limit."""

    status = 413


class CutShort(PermanentError):
    """The connection ended before the body did."""

    status = 400


async def read(request: Request, most: int) -> bytes:
    """The body; `TooLarge` as soon as it has more than `most` bytes, without keeping them."""
    if claims_more(request.scope, most):
        raise TooLarge(f"the body is over {most} bytes")
    chunks, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > most:
                raise TooLarge(f"the body is over {most} bytes")
            chunks.append(chunk)
    except ClientDisconnect:
        raise CutShort("the connection ended before the body did") from None
    return b"".join(chunks)


def bounded(app: ASGIApp, most: int) -> ASGIApp:
    """An application that hears the end of the connection where a body has over `most` bytes, and
    whose answer is then 413, whatever it says."""

    async def limited(scope: Scope, receive: Receive, send: Send) -> None:
        if claims_more(scope, most):
            await _too_large(most)(scope, receive, send)
            return
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            return {"type": "http.disconnect"} if size > most else message

        async def answered(message: Message) -> None:
            if size <= most:
                await send(message)
            elif message["type"] == "http.response.start":
                await _too_large(most)(scope, receive, send)

        await app(scope, counted, answered)

    return limited


def _too_large(most: int) -> Response:
    return refusal(413, f"the body is over {most} bytes")


def claims_more(scope: Any, most: int) -> bool:
    """Does its header say that a body has more than `most` bytes?"""
    claimed: bytes = dict(scope["headers"]).get(b"content-length", b"")
    return claimed.isdigit() and (len(claimed) > 15 or int(claimed) > most)
