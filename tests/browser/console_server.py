"""A console of a test's own cluster on a real socket, for a browser."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn

from tests.support import eventually
from tests.support.cluster import Cluster


@asynccontextmanager
async def served(
    cluster: Cluster,
    name: str = "console",
    listener: socket.socket | None = None,
    certificate: Path | None = None,
) -> AsyncIterator[str]:
    """An application of the cluster on a free port, or on one that listens already; yields its URL.

    A `certificate` is a PEM of key and chain: it is served over https then.
    """
    listener = listener or socket.create_server(("127.0.0.1", 0))
    # By name, as a later deployment takes the place of this one.
    config = uvicorn.Config(
        lambda scope, receive, send: cluster.apps[name](scope, receive, send),
        lifespan="off",
        log_level="warning",
        interface="asgi3",
        timeout_graceful_shutdown=5,
        ssl_certfile=certificate,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))

    async def is_up() -> bool:
        return server.started

    await eventually(is_up)
    scheme = "https" if certificate else "http"
    yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    await task
