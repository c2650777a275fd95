"""The real process, killed without warning again and again while deliveries come in."""

from __future__ import annotations

import asyncio
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest
import uvicorn

from functions.webhook_receiver.relay import AT_ONCE
from tests.cluster import App, Sink
from tests.function import webhook_requests as make
from tests.function.test_serve import served, start
from tests.support import eventually

TARGET = {"FUNCTION_SOURCE": "", "FUNCTION_TARGET": "webhook_receiver"}


@asynccontextmanager
async def listening(app: App) -> AsyncIterator[str]:
    """An application on a socket; yields its URL."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_config=None, lifespan="off")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await serving


class Receiver:
    """A receiver that is started again each time it is killed."""

    def __init__(self, environ: dict[str, str]) -> None:
        self._environ = environ
        self._stack = AsyncExitStack()
        self.url = ""
        self.kills = -1

    async def start(self) -> None:
        process, self.url = await self._stack.enter_async_context(served(**self._environ))
        self._process = process
        self.kills += 1

    async def kill(self) -> None:
        self._process.kill()
        await self._process.wait()
        await self.start()

    async def close(self) -> None:
        await self._stack.aclose()


async def deliver(client: httpx.AsyncClient, receiver: Receiver, request: make.Post) -> bool:
    """Send until it is acknowledged, as somebody who watches GitHub's list would."""
    path, headers, body = request

    async def acknowledged() -> list[bool]:
        try:
            response = await client.post(f"{receiver.url}{path}", headers=headers, content=body)
        except httpx.TransportError:
            return []
        assert response.status_code in (202, 503), response.text
        return [response.json()["repeated"]] if response.status_code == 202 else []

    return (await eventually(acknowledged, within_s=60))[0]


@pytest.mark.slow
async def test_each_of_500_deliveries_reaches_the_sink_although_the_process_is_killed(
    webhook_database: str,
) -> None:
    dice = random.Random(20261120)
    ids = [f"d-{n}" for n in range(500)]
    todo = ids + dice.choices(ids, k=150)
    dice.shuffle(todo)
    sink, acknowledged = Sink(), Counter[str]()

    async with listening(sink) as url, httpx.AsyncClient(timeout=30) as client:
        environ = {"DATABASE_URL": webhook_database, "K_SINK": url, **make.SECRETS, **TARGET}
        receiver = Receiver(environ)
        await receiver.start()

        async def sender() -> None:
            while todo:
                id = todo.pop()
                await deliver(client, receiver, make.from_github(delivery=id))
                acknowledged[id] += 1

        senders = [asyncio.create_task(sender()) for _ in range(12)]
        for enough in (100, 300, 500):

            async def reached(enough: int = enough) -> bool:
                return acknowledged.total() >= enough

            await eventually(reached, within_s=60, every_s=0.001)
            await receiver.kill()
        await asyncio.gather(*senders)

        async def all_arrived() -> bool:
            return {m.id for m in sink.messages} == set(ids)

        await eventually(all_arrived, within_s=60)
        await receiver.close()

    assert receiver.kills == 3
    assert set(acknowledged) == set(ids)
    said = {(m.id, m.source, m.type, m.data) for m in sink.messages}
    assert len(said) == 500, "what came twice came with the same id, source and data"
    # A kill may repeat the batch in hand, and nothing else.
    assert len(sink.messages) - 500 <= receiver.kills * AT_ONCE


async def test_health_says_which_sources_are_armed(webhook_database: str) -> None:
    environ = {"DATABASE_URL": webhook_database, "GITHUB_WEBHOOK_SECRETS": make.GITHUB}
    async with served(**environ, **TARGET) as (_, url), httpx.AsyncClient() as client:
        answer = (await client.get(f"{url}/health")).json()
    assert answer == {
        "status": "ok",
        "sources": {"github": "armed", "grafana": "refused", "pm": "refused", "cli": "refused"},
    }


async def test_a_bad_secret_keeps_it_from_starting_and_is_named() -> None:
    process = await start(CLI_WEBHOOK_SECRETS="whsec_!", **TARGET)
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 3
    assert "setting CLI_WEBHOOK_SECRETS: a secret must be whsec_ and base64" in errors.decode()


async def test_allowing_the_unsigned_is_loud(webhook_database: str) -> None:
    environ = {"DATABASE_URL": webhook_database, "ALLOW_UNSIGNED": "true"}
    async with served(**environ, **TARGET) as (process, _):
        process.terminate()
        output, _ = await process.communicate()
    assert b'"level": "warning"' in output
    assert b"ANYBODY can start agents" in output
