"""An application on a socket, for callers that bring their own client."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn

from tests.support.cluster import App


@asynccontextmanager
async def listening(app: App) -> AsyncIterator[str]:
    """Serve it on a free port; yields its URL."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # who has the URL may connect before the server's task runs
        # No date but the application's own: GitHub's stand-in has a clock that may be wrong.
        config = uvicorn.Config(app, log_config=None, lifespan="off", date_header=False)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await serving
