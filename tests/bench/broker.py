"""How fast the local broker accepts durably and delivers, against an in-memory Knative.

Three processes, as in life: the broker, one subscriber, and the load. Every event is posted, on
disk, delivered and answered before its connection sends the next one. The subscriber parses as
little HTTP as it can, to leave the processors to the broker.

Run as a program this is the broker (STORE PORT SUBSCRIBER_URL) or the subscriber (PORT).
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import uvicorn

from knative.local.broker import (
    AiohttpSend,
    BrokerSpec,
    Delivery,
    LocalBroker,
    TriggerSpec,
    ingress_app,
)
from tests.bench.load import Load, load
from tests.bench.processes import running
from tests.bench.report import Row

STORED = 100_000
ROUNDS = 5
# A real Knative broker on two cores, in memory and not durable.
KNATIVE_RATE = 2700.0
ALONE_MS = 0.6

HEADERS = {
    "ce-id": "{n}",
    "ce-source": "/bench",
    "ce-type": "bench.event.v1",
    "ce-specversion": "1.0",
    "ce-time": "2026-01-02T03:04:05Z",
    "content-type": "application/json",
}
BODY = b'{"project_id":"AUR","sprint_id":"AUR-4","tasks":12,"done":12}'


async def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        async with _serving(home / "alone.db") as ingress:
            rounds = [await _load(ingress, 1000, connections=1) for _ in range(ROUNDS)]
            alone = min(rounds, key=lambda done: done.p50_ms)
        full = home / "full.db"
        async with _serving(full) as ingress:
            await _load(ingress, 2000)
        _fill(full, STORED)
        empty_rate, full_rate = await _rates(home / "empty.db", full)
    return [
        Row("broker, 64 connections", empty_rate, "events/s", "Knative", KNATIVE_RATE, 2.0),
        Row("broker, alone", alone.rate, "events/s"),
        Row("broker, alone", alone.p50_ms, "ms", "limit", ALONE_MS, 1.0, False),
        Row(f"broker, {STORED:,} stored", full_rate, "events/s", "empty store", empty_rate, 0.9),
    ]


async def _rates(empty: Path, full: Path) -> tuple[float, float]:
    """The best of alternating rounds: what else the machine does only ever slows one down."""
    async with _serving(empty) as one, _serving(full) as other:
        rates: dict[str, list[float]] = {one: [], other: []}
        for _ in range(ROUNDS):
            for ingress in (one, other):
                rates[ingress].append((await _load(ingress, 6000)).rate)
    return max(rates[one]), max(rates[other])


async def _load(ingress: str, requests: int, connections: int = 64) -> Load:
    done = await load(ingress, HEADERS, BODY, requests=requests, connections=connections)
    assert not done.failed, f"{done.failed} events were not accepted"
    return done


@asynccontextmanager
async def _serving(store: Path) -> AsyncIterator[str]:
    """A broker on `store` with its subscriber; gives the ingress URL."""
    async with (
        running("-m", "tests.bench.broker", "{port}") as subscriber,
        running("-m", "tests.bench.broker", str(store), "{port}", subscriber.url) as broker,
    ):
        yield f"{broker.url}/bench/default"


def _fill(store: Path, count: int) -> None:
    """Multiply what a run left behind, until there are `count` events."""
    tables = {
        "event": ("seq + ?1", "seq"),
        "delivery": ("id + ?1, event + ?1", "id"),
        "attempt": ("delivery + ?1", "delivery"),
    }
    with contextlib.closing(sqlite3.connect(store)) as db, db:
        (have,) = db.execute("select max(seq) from event").fetchone()
        while have < count:
            for table, (shifted, key) in tables.items():
                columns = [row[1] for row in db.execute(f"pragma table_info({table})")]
                others = ", ".join(columns[shifted.count("?") :])
                db.execute(
                    f"insert into {table} select {shifted}, {others} from {table}"
                    f" where {key} <= ?2 order by {key}",
                    (have, min(have, count - have)),
                )
            have += min(have, count - have)


class _Subscriber(asyncio.Protocol):
    """Answers 202 to each request as soon as its body has arrived."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one, unrelated
        self._seen = b""

    def data_received(self, data: bytes) -> None:
        self._seen += data
        while (end := self._seen.find(b"\r\n\r\n")) >= 0:
            head = self._seen[:end].lower()
            size = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if len(self._seen) < end + 4 + size:
                return
            self._seen = self._seen[end + 4 + size :]
            self._transport.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")


async def _serve_subscriber(port: int) -> None:
    loop = asyncio.get_running_loop()
    await (await loop.create_server(_Subscriber, "127.0.0.1", port)).serve_forever()


async def _serve_broker(store: Path, port: int, subscriber: str) -> None:
    wanted = {"type": "bench.event.v1"}
    broker = LocalBroker(
        store,
        [BrokerSpec("bench", "default", Delivery())],
        [TriggerSpec("bench", "all", "default", wanted, None, subscriber)],
        AiohttpSend(),
    )
    await broker.start()
    app = ingress_app(broker)
    config = uvicorn.Config(app, port=port, lifespan="off", log_level="error", proxy_headers=False)
    await uvicorn.Server(config).serve()


def main() -> None:
    import uvloop

    arguments = sys.argv[1:]
    if len(arguments) == 1:
        uvloop.run(_serve_subscriber(int(arguments[0])))
    else:
        store, port, subscriber = arguments
        uvloop.run(_serve_broker(Path(store), int(port), subscriber))


if __name__ == "__main__":
    main()
