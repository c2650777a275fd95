"""The broker under test: the local one on a real socket, or the one that BROKER_URL names."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import uvicorn

from knative.local.broker import AiohttpSend, LocalBroker, ingress_app
from tests.conformance.triggers import BROKER, PREFIX, TRIGGERS
from tests.support import eventually
from tests.support.receiver import Receiver, Say


@dataclass
class Wire:
    """A producer's and a subscriber's side of one broker."""

    url: str
    client: httpx.AsyncClient
    receiver: Receiver
    base: str = field(init=False)

    def __post_init__(self) -> None:
        self.base = self.url.rsplit("/", 2)[0]

    async def publish(
        self, listens: str, *answers: Say, data: bytes = b'{"x": 1}', **attributes: str
    ) -> tuple[str, httpx.Response]:
        """Post an event of type conformance.<listens>; its like-named subscriber says `answers`.

        Returns the event's id, and the broker's answer.
        """
        event_id = str(uuid.uuid4())
        self.receiver.will_say(f"/{listens}", event_id, *answers)
        return event_id, await self.post(event_id, f"{PREFIX}{listens}", data, attributes)

    async def post(
        self, event_id: str, type_: str, data: bytes, attributes: Mapping[str, str]
    ) -> httpx.Response:
        headers = {
            "ce-specversion": "1.0",
            "ce-id": event_id,
            "ce-source": "/conformance",
            "ce-type": type_,
            "content-type": "application/json",
        } | {f"ce-{name}": value for name, value in attributes.items()}
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        return await self.client.post(self.url, headers=raw, content=data)


@pytest.fixture(scope="session")
async def wire(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Wire]:
    receiver = Receiver()
    async with contextlib.AsyncExitStack() as stack:
        host = os.environ.get("BROKER_HOST")
        client = httpx.AsyncClient(
            timeout=60, trust_env=False, headers={"host": host} if host else None
        )
        await stack.enter_async_context(client)
        stack.push_async_callback(receiver.stop)
        if url := os.environ.get("BROKER_URL"):
            await receiver.start("0.0.0.0", int(os.environ["SINK_HOST"].rpartition(":")[2]))
        else:
            await receiver.start()
            home = tmp_path_factory.mktemp("broker")
            url = await stack.enter_async_context(serve_local(home, receiver.port))
        yield Wire(url.rstrip("/"), client, receiver)


@contextlib.asynccontextmanager
async def serve_local(home: Path, receiver_port: int) -> AsyncIterator[str]:
    """The local broker with the suite's Triggers behind a real server; gives its ingress URL."""
    send = AiohttpSend()
    sink = f"http://127.0.0.1:{receiver_port}"
    namespace, name = BROKER.namespace, BROKER.name
    triggers = [trigger.spec(namespace, name, sink) for trigger in TRIGGERS]
    broker = LocalBroker(home / "broker.db", [BROKER], triggers, send)
    await broker.start()
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(ingress_app(broker), lifespan="off", log_level="warning")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listener]))

    async def started() -> bool:
        return server.started

    await eventually(started)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/{namespace}/{name}"
    finally:
        server.should_exit = True
        await serving
        await broker.stop()
        await send.close()
