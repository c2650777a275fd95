"""A local Knative in a child process: on a free port, with a data directory of its own."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from knative.local.broker.broker import LOST
from knative.local.random_secrets import read
from knative.local.testing import KnativeProcess

ROOT = Path(__file__).resolve().parents[2]
BROKER_HOST = "broker-ingress.knative-eventing.svc.cluster.local"


class LocalKnative(KnativeProcess):
    """Of this checkout, asked without blocking the test's event loop."""

    def __init__(
        self,
        overlay: Path,
        data: Path,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(overlay, data, arguments, env or {}, folder=ROOT)

    @property
    def proxy_url(self) -> str:
        """The HTTP_PROXY of the processes inside."""
        return self.url.replace("://", f"://knative:{self.token}@")

    def client(
        self, service: str = "", namespace: str = "dsm", **options: Any
    ) -> httpx.AsyncClient:
        """A client inside: of a Service by its cluster host name, or of the administration."""
        inside = {"authorization": f"Bearer {self.token}"}
        host = {"host": f"{service}.{namespace}.svc.cluster.local"} if service else {}
        headers = {**inside, **host, **options.pop("headers", {})}
        # Without the authorities of TLS, which take longer to read than most requests.
        options = {"timeout": 60.0, "trust_env": False, "verify": False, **options}
        return httpx.AsyncClient(base_url=self.url, headers=headers, **options)

    def secret(self, name: str, key: str) -> str:
        """A value that the data folder has made; `name` is namespace/name."""
        return read(self.data)[name][key]

    async def send(
        self, type: str, data: Any = None, *, broker: str = "dsm/default", **attributes: str
    ) -> int:
        """Send an event to the broker; the ingress's status."""
        headers = {"host": BROKER_HOST, "ce-specversion": "1.0", "ce-type": type}
        headers |= {"ce-id": f"{time.time_ns()}", "ce-source": "/test"}
        headers |= {f"ce-{name}": value for name, value in attributes.items()}
        body = b"" if data is None else json.dumps(data).encode()
        if body:
            headers["content-type"] = "application/json"
        async with self.client(headers=headers) as client:
            return (await client.post(f"/{broker}", content=body)).status_code

    async def ask(self, path: str, **query: Any) -> Any:
        """The administration's JSON: status, services, events, dead-letters, settled."""
        async with self.client() as client:
            return (await client.get(f"/_knative/{path}", params=query)).json()

    async def fire(self, schedule: str) -> int:
        """Fire a schedule now; the status of its sink."""
        async with self.client() as client:
            answer = await client.post("/_knative/fire", params={"name": schedule})
        return int(answer.json()["status"])

    async def crash_broker(self) -> int:
        """Lose what the broker holds in memory; how many deliveries that were."""
        async with self.client() as client:
            return int((await client.post("/_knative/crash-broker")).json()["lost"])

    async def connect(self, database: str) -> asyncpg.Connection[asyncpg.Record]:
        """A session of PostgreSQL."""
        lock = (self.data / "postgres" / "postmaster.pid").read_text().splitlines()
        return await asyncpg.connect(host=lock[4], user="dsm", database=database)

    async def given_up(self) -> list[tuple[str, Any]]:
        """Type and delivery of what was given up; not of what the broker lost with its memory."""
        return [
            (event["attributes"]["type"], delivery)
            for event in await self.ask("dead-letters", limit=10_000)
            for delivery in event["deliveries"]
            if delivery["state"] in ("dead-lettered", "failed") and delivery["reason"] != LOST
        ]

    async def settled(self) -> bool:
        """Nothing is on its way."""
        return bool((await self.ask("settled"))["settled"])


@contextlib.contextmanager
def local_knative(overlay: Path, data: Path, *arguments: str, **env: str) -> Iterator[LocalKnative]:
    """A started runtime that is stopped at the end."""
    runtime = LocalKnative(overlay, data, arguments, env).start()
    try:
        yield runtime
    finally:
        runtime.stop()
