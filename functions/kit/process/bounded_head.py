"""uvicorn's protocol with bounds for the head of a request, and for the rest of
a body that was answered before it had come.

Who sends a head for ever would hold a connection for ever; a body has its own limits. Who is
refused within the body still sends: to close at once would take the answer along, so the rest is
thrown away for a moment first.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
LINGER_S = 2.0


class BoundedHead(HttpToolsProtocol):
    def __init__(self, *args: Any, head_timeout_s: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_timeout_s = head_timeout_s
        self._head_bytes = 0
        self._in_head = False  # has a head begun, and not ended?
        self._until: asyncio.TimerHandle | None = None
        self._rest_until: asyncio.TimerHandle | None = None
        self._unfinished = 0  # requests that were answered before their bodies had come

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._have_head()
        self._have_rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._until is None and (self._in_head or self._is_idle()):
            self._expect_head()  # a further request's, or the blank lines that may precede it
        if self._until is not None and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._have_head()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._unfinished -= 1
        self._have_rest()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._unfinished += 1
        super().on_response_complete()
        if self._unfinished > 0:
            self._rest_until = self.loop.call_later(LINGER_S, self.transport.close)

    def _is_idle(self) -> bool:
        """Is each request here, and answered? What comes then has ended uvicorn's keep-alive."""
        return self.cycle is not None and self.cycle.response_complete and self._unfinished == 0

    def _have_rest(self) -> None:
        if self._rest_until is not None:
            self._rest_until.cancel()
            self._rest_until = None

    def _expect_head(self) -> None:
        self._head_bytes = 0
        self._until = self.loop.call_later(
            self._head_timeout_s, self._refuse, b"408 Request Timeout"
        )

    def _have_head(self) -> None:
        if self._until is not None:
            self._until.cancel()
            self._until = None

    def _refuse(self, status: bytes) -> None:
        self._have_head()
        if not self.transport.is_closing():
            head = b"HTTP/1.1 %b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(head % status)
            self.transport.close()
