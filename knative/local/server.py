"""The gateway's port: bound first, so that a taken port is reported at once."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from knative.local.errors import StartError
from knative.local.gateway import App

BACKLOG = 2048


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the runtime handles signals: it has more to stop than this


class _Protocol(HttpToolsProtocol):
    """uvicorn's own, with words for those who take the gateway for a proxy of https."""

    def on_headers_complete(self) -> None:
        # A proxy's absolute form: its host counts, not the header's (RFC 9112, 3.2.2).
        if b"://" in self.url and not self.url.startswith(b"/"):
            url = httptools.parse_url(self.url)
            host = b"[%b]" % url.host if b":" in url.host else url.host
            authority = b"%b:%d" % (host, url.port) if url.port else host
            others = [pair for pair in self.headers if pair[0] != b"host"]
            self.headers[:] = [(b"host", authority), *others]
            self.url = (url.path or b"/") + (b"?" + url.query if url.query else b"")
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        if self.parser.get_method() == b"CONNECT":
            msg = (
                "CONNECT is not supported: the gateway is a proxy for http only; unset HTTPS_PROXY"
            )
        super().send_400_response(msg)


def bind(port: int) -> socket.socket:
    """A listening socket on `port` (0: any free one); StartError when that cannot be."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        message = f"cannot listen on port {port}: {error}; give another --port"
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            message = f"port {port} is taken; stop what uses it or give another --port"
        raise StartError(message) from None
    return listener


class Server:
    """Serves an ASGI application on `listener` between `start` and `stop`."""

    def __init__(self, app: App, listener: socket.socket) -> None:
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=75,  # longer than clients do: its end is theirs to choose
            timeout_graceful_shutdown=5,
        )
        self._server = _Server(config)
        self._listener = listener
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        await self._server.up.wait()

    async def stop(self) -> None:
        if self._task is not None:
            self._server.should_exit = True
            await self._task
