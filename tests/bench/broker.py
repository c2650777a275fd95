"""How fast the local broker accepts durably and delivers. `python -m tests.bench.broker`

Three processes, as in life: the broker, one subscriber, and the load. Every event is posted, on
disk, delivered and answered before its connection sends the next one. The subscriber and the load
parse as little HTTP as they can, to leave the processors to the broker.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import socket
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypedDict, cast

import uvicorn
import uvloop

from knative.local.broker import (
    AiohttpSend,
    BrokerSpec,
    Delivery,
    LocalBroker,
    TriggerSpec,
    ingress_app,
)

STORED = 100_000
ROUNDS = 2
# A real Knative broker on two cores, in memory and not durable.
KNATIVE_RATE = 2700.0
KNATIVE_ALONE_MS = 1.1

BODY = b'{"project_id": 7, "sprint": "AUR-4", "tasks": 12, "done": 12}'
REQUEST = (
    b"POST /bench/default HTTP/1.1\r\nHost: broker\r\nce-specversion: 1.0\r\nce-id: %d-%d\r\n"
    b"ce-source: /bench\r\nce-type: bench.event\r\nce-time: 2024-05-01T00:00:00Z\r\n"
    b"content-type: application/json\r\ncontent-length: " + str(len(BODY)).encode() + b"\r\n\r\n"
) + BODY


class Row(TypedDict):
    """One line of the bench's table; `ratio` is against `aim`, and better above 1."""

    name: str
    value: float
    unit: str
    ratio: float
    aim: float


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


def _serve_subscriber(listener: socket.socket) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_Subscriber, sock=listener)
        await server.serve_forever()

    uvloop.run(serve())


def _serve_broker(listener: socket.socket, store: Path, subscriber_port: int) -> None:
    async def serve() -> None:
        broker = LocalBroker(
            store,
            [BrokerSpec("bench", "default", Delivery())],
            [
                TriggerSpec(
                    "bench",
                    "all",
                    "default",
                    {"type": "bench.event"},
                    None,
                    f"http://127.0.0.1:{subscriber_port}/",
                )
            ],
            AiohttpSend(),
        )
        await broker.start()
        config = uvicorn.Config(
            ingress_app(broker),
            lifespan="off",
            log_level="error",
            access_log=False,
            proxy_headers=False,
        )
        await uvicorn.Server(config).serve([listener])

    uvloop.run(serve())


async def _load(port: int, connections: int, seconds: float) -> tuple[float, float]:
    """Events per second, and the median time of one in milliseconds."""
    times: list[float] = []
    stop = time.perf_counter() + seconds

    async def connection(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        count = 0
        while (start := time.perf_counter()) < stop:
            count += 1
            writer.write(REQUEST % (number, count))
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 202"):
                raise RuntimeError(f"the broker answered {head!r}")
            times.append(time.perf_counter() - start)
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(connection(n) for n in range(connections)))
    return len(times) / (time.perf_counter() - started), statistics.median(times) * 1000


def _fill(store: Path, count: int) -> None:
    """Multiply what a run left behind, until there are `count` events."""
    with contextlib.closing(sqlite3.connect(store)) as db, db:
        (have,) = db.execute("select count(*) from event").fetchone()
        while have < count:
            more = min(have, count - have)
            db.execute(
                "insert into event select seq + ?1, namespace, broker, type, arrived, ttl, cause,"
                " attributes, headers, data from event where seq <= ?2",
                (have, more),
            )
            db.execute(
                "insert into delivery select id + ?1, event + ?1, trigger, repeated, state,"
                " attempts, base, due, reason, error from delivery where id <= ?2",
                (have, more),
            )
            db.execute(
                "insert into attempt select delivery + ?1, number, url, at, took_s, status, reason,"
                " answer from attempt where delivery <= ?2",
                (have, more),
            )
            have += more


def _measure(store: Path, connections: int, seconds: float) -> tuple[float, float]:
    with ExitStack() as stack:
        subscriber = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=512))
        ingress = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=512))
        _run(stack, lambda: _serve_subscriber(subscriber))
        _run(stack, lambda: _serve_broker(ingress, store, subscriber.getsockname()[1]))
        port = ingress.getsockname()[1]
        uvloop.run(_load(port, connections, min(0.5, seconds)))  # warm
        return uvloop.run(_load(port, connections, seconds))


def _run(stack: ExitStack, target: Callable[[], None]) -> None:
    process = multiprocessing.get_context("fork").Process(target=target, daemon=True)
    process.start()
    stack.callback(process.join)
    stack.callback(process.terminate)


def run(seconds: float = 5.0, stored: int = STORED) -> list[Row]:
    """Measure at 1 and 64 connections, with an empty store and with `stored` events in it."""
    with tempfile.TemporaryDirectory() as home:
        _, alone_ms = _measure(Path(home) / "alone.db", 1, seconds)
        empty = [Path(home) / f"empty-{n}.db" for n in range(ROUNDS)]
        full = Path(home) / "full.db"
        _measure(full, 64, 0.5)
        _fill(full, stored)
        # By turns, so that what else the machine does meets both alike; the best round counts.
        rates = [(_measure(e, 64, seconds)[0], _measure(full, 64, seconds)[0]) for e in empty]
        rate, full_rate = (max(column) for column in zip(*rates, strict=True))
    return [
        Row(
            name="broker: accepted durably and delivered, 64 connections",
            value=rate,
            unit="events/s",
            ratio=rate / KNATIVE_RATE,
            aim=1.0,
        ),
        Row(
            name="broker: accepted durably, delivered and answered, alone",
            value=alone_ms,
            unit="ms",
            ratio=KNATIVE_ALONE_MS / alone_ms,
            aim=1.0,
        ),
        Row(
            name=f"broker: with {stored:,} stored events, against an empty store",
            value=full_rate,
            unit="events/s",
            ratio=full_rate / rate,
            aim=0.9,
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of load per measurement")
    for row in run(parser.parse_args().seconds):
        print(f"{row['name']:<62}{row['value']:>10,.1f} {row['unit']:<9}", end="")
        print(f"ratio {row['ratio']:.2f}, aim {row['aim']:.2f}")


if __name__ == "__main__":
    main()
