"""HEAD is answered wherever GET is (RFC 9110, 9.3.2): the same head, and no body."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadAsGet:
    """An application that answers HEAD as it does GET; what would stream on ends with its head."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        streams = asyncio.Event()

        async def head_only(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
            elif message.get("more_body"):
                streams.set()
                await asyncio.sleep(0)  # where a stream without a reader is cancelled

        answering = asyncio.create_task(
            _call(self._app, {**scope, "method": "GET"}, receive, head_only)
        )
        streaming = asyncio.create_task(streams.wait())
        try:
            await asyncio.wait({answering, streaming}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                await answering  # raises what it raised
            await send({"type": "http.response.body", "body": b""})
        finally:
            for task in (answering, streaming):
                task.cancel()
            await asyncio.gather(answering, streaming, return_exceptions=True)


async def _call(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)
