"""GitHub's stand-in on a socket of its own, for git, which calls no ASGI application."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn

from tests.support.github_standin import GithubStandIn
from tests.support.waiting import eventually


@asynccontextmanager
async def github_served(github: GithubStandIn) -> AsyncIterator[str]:
    """Serve on a free port; yields the URL, which is that of the API and of git."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(github, lifespan="off", log_level="warning")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))

    async def is_up() -> bool:
        return server.started

    await eventually(is_up)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
