"""Answers of unknown length, a watch or a log: sent until they end, their reader goes, or we do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from starlette.types import Receive, Send


class Stream:
    """One such answer; `end` makes its source stop, `timeout_s` is how long it may take."""

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        end: Callable[[], None],
        media_type: str,
        timeout_s: int | None,
    ) -> None:
        self._chunks, self.end, self._media_type = chunks, end, media_type
        self.timeout_s = timeout_s

    async def send_to(self, send: Send) -> None:
        headers = [(b"content-type", self._media_type.encode()), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        # Sent at once even if nothing has happened yet: the client knows that it watches.
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        async for chunk in self._chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class Streams:
    """All that are being sent now."""

    def __init__(self) -> None:
        self._ends: set[Callable[[], None]] = set()

    def close(self) -> None:
        """End them, so that their connections do not hold up the server's end."""
        for end in tuple(self._ends):
            end()

    async def send(self, stream: Stream, receive: Receive, send: Send) -> None:
        """Send one to its end."""
        self._ends.add(stream.end)
        gone = asyncio.create_task(_disconnected(receive))
        sending = asyncio.create_task(stream.send_to(send))
        try:
            await asyncio.wait(
                {gone, sending}, timeout=stream.timeout_s, return_when="FIRST_COMPLETED"
            )
            stream.end()
            if gone.done():
                sending.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await sending
        finally:
            self._ends.discard(stream.end)
            stream.end()
            gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
