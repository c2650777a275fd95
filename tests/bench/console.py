"""The console's first page, and its stream, with 10,000 runs and 100,000 events stored."""

from __future__ import annotations

import json
import sqlite3
import statistics
import time
from pathlib import Path

import asyncpg
import httpx

from tests.bench.report import Row
from tests.browser.morning import Morning, morning

RUNS, EVENTS, TIMES = 10_000, 100_000, 30
LIMIT_MS = 300.0
FUNCTIONS = ("sprint-report", "cycle-trigger", "scrum-simulate", "scrum-report")


async def run() -> list[Row]:
    async with morning() as ran:
        await store_runs(ran.runtime.data / "postgres")
        ran.runtime.stop()
        store_events(ran.runtime.data / "broker.sqlite")
        ran.runtime.start(timeout_s=120)
        found = [
            (name, await page_ms(ran, path))
            for name, path in (
                ("console: today", "/"),
                ("console: events", "/events"),
                ("console: events of one subject", "/events?subject=S-7"),
            )
        ]
    return [Row(name, ms, "ms", "limit", LIMIT_MS, 1.0, at_least=False) for name, ms in found]


async def page_ms(ran: Morning, path: str) -> float:
    """The median of a page from warm processes; each panel must be there, none still loading."""
    took = []
    async with ran.runtime.client("console") as client:
        await whole(client, path)
        for _ in range(TIMES):
            began = time.perf_counter()
            text = (await client.get(path)).text
            took.append((time.perf_counter() - began) * 1000)
            assert "aria-busy" not in text, "a panel was not there in time"
    return statistics.median(took)


async def whole(client: httpx.AsyncClient, path: str, timeout_s: float = 60) -> None:
    """Ask until every part answers at once: until then processes start."""
    deadline = time.monotonic() + timeout_s
    while "aria-busy" in (await client.get(path)).text:
        assert time.monotonic() < deadline, f"{path} is still loading"


async def store_runs(socket: Path) -> None:
    """Runs of the morning's functions over the last 30 days."""
    connection = await asyncpg.connect(host=str(socket), user="dsm", database="functions")
    for name in FUNCTIONS:
        await connection.execute(
            """INSERT INTO run (function, source, id, type, ended_at, took_ms, outcome)
               SELECT $1, 'bench', n::text, 'dev.knative.sources.ping',
                   now() - make_interval(mins => n * 17), 12.5, 'ok'
               FROM generate_series(1, $2) AS n""",
            *(name.replace("-", "_"), RUNS // len(FUNCTIONS)),
        )
    await connection.close()


def store_events(broker: Path) -> None:
    """Events with one delivery each, as the broker stores them; it must not be running."""
    with sqlite3.connect(broker) as db:
        (last,) = db.execute("select max(seq) from event").fetchone()
        (delivery,) = db.execute("select max(id) from delivery").fetchone()
        now = time.time()
        for number in range(1, EVENTS + 1):
            said = {"id": f"b{number}", "type": "io.example.bench.v1", "source": "/bench"}
            said |= {"specversion": "1.0", "subject": f"S-{number % 1000}"}
            at = now - EVENTS + number
            row = (last + number, "dsm", "default", said["type"], at, 255, None)
            db.execute(
                "insert into event values (?,?,?,?,?,?,?,?,?,?)",
                (*row, json.dumps(said), "[]", b"{}"),
            )
            db.execute(
                "insert into delivery values (?,?,?,0,'delivered',1,0,?,null,null)",
                (delivery + number, last + number, "dsm/bench", at),
            )
            db.execute(
                "insert into attempt values (?,1,'http://bench',?,0.01,202,null,?)",
                (delivery + number, at, b""),
            )
