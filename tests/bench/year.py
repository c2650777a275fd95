"""A year of data: each list, panel, scrape and sweep, against its time on an empty store.

A local Knative has run a morning; then rows come by SQL (`year_rows`), and everything is timed
again. YEAR_SCALE is how much of a year: ratios show at a fiftieth what grows with it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import httpx
import psutil

from tests.bench import year_rows
from tests.bench.report import Row
from tests.browser.morning import Morning, morning

SCALE = float(os.environ.get("YEAR_SCALE", "0.02"))
EVENTS = int(2_000_000 * SCALE)  # of the local broker's store
TIMES, SWEEPS = 9, 3
LIMIT = 2.0
FLOOR_MS = 10.0  # what takes less is held against this: a busy machine moves it by as much
LIMIT_MS = 300.0  # of the console's first page
AGAIN_S = 5.1  # the gauges of tables are read each 5 s
PAGES = (
    *("/", "/?day=2026-02-27", "/sprints", "/projects/PHE001", "/functions", "/events"),
    *("/events?subject=S-7", "/events/trace?correlation={trace}", "/orchestrations"),
    *("/orchestrations/tenantCreation", "/orchestrations/tenantCreation/runs/{flow}", "/jobs"),
    *("/jobs/{job}", "/schedules", "/schedules/scrum-simulate", "/dead-letters"),
    "/search?q=nothing-has-this-id",
)
LISTS = {
    "sprint-report": ("/runs", "/runs?summary=true"),
    "cycle-trigger": ("/runs", "/cycles"),
    "orchestrator": ("/runs", "/api/executions", "/api/executions?status=COMPLETED&size=1"),
    "job-launcher": ("/runs", "/jobs", "/jobs?state=succeeded", "/jobs?task=t7"),
    "dead-letter": ("/dead-letters", "/dead-letters?state=redriven", "/audit"),
    "scheduler": (
        "/runs",
        "/schedules",
        "/ticks",
        "/ticks?schedule=sprint-report",
        "/ticks/latest",
    ),
    "project-service": ("/projects", "/teams"),
    "sprint-service": ("/sprints/by-project/PHE001", "/sprints/overview?limit=50"),
    "backlog-service": ("/backlogs/PHE001",),
    "chronicle-service": ("/v1/notes/daily_scrum_report?project_id=PHE001",),
    "webhook-receiver": (),
}
TICKS = {
    "job-sweep": "job_launcher",
    "saga-sweep": "orchestrator",
    "scheduler": "scheduler",
    "webhook-relay": "webhook_receiver",
    "cycle-sweep": "cycle_trigger",
}
Times = dict[str, float]


async def run() -> list[Row]:
    async with morning() as ran:
        empty = await _all(ran)
        print(f"  {SCALE:g} of a year is stored", flush=True)
        await year_rows.store(ran.runtime, SCALE)
        ran.runtime.stop()
        _store_events(ran.runtime.data / "broker.sqlite")
        ran.runtime.start(timeout_s=120)
        full = await _all(ran)
    rows = []
    for kind in ("console", "list", "metrics", "sweep"):
        ratios = {
            name: full[name] / max(empty[name], FLOOR_MS)
            for name in full
            if name.startswith(kind) and name in empty
        }
        assert ratios, f"nothing of {kind} was measured"
        for name in sorted(ratios, key=lambda n: ratios[n], reverse=True):
            print(f"  {name}: {empty[name]:.1f} -> {full[name]:.1f} ms, {ratios[name]:.2f}")
        worst = max(ratios, key=lambda n: ratios[n])
        name = f"{SCALE:g} of a year: {worst}, worst of {len(ratios)}"
        before = max(empty[worst], FLOOR_MS)
        rows.append(Row(name, full[worst], "ms", "empty", before, LIMIT, minimum=False))
    first = Row("console: today", full["console /"], "ms", "limit", LIMIT_MS, 1.0, minimum=False)
    return [first, *rows]


async def _all(ran: Morning) -> Times:
    """Milliseconds of everything, warm."""
    found: Times = {}
    async with ran.runtime.client("console") as client:
        for path in PAGES:
            where = path.format_map(vars(ran))
            found[f"console {path}"] = await _median(partial(_page, client, where))
    for service, paths in LISTS.items():
        async with ran.runtime.client(service) as client:
            for path in paths:
                found[f"list {service}{path}"] = await _median(partial(_ok, client, path))
    for _ in range(SWEEPS):
        for schedule in TICKS:
            await ran.runtime.fire(schedule)
    return found | await _scrapes(ran) | await _sweeps(ran)


async def _median(ask: Callable[[], Awaitable[None]]) -> float:
    took = []
    for _ in range(1 + TIMES):
        began = time.perf_counter()
        await ask()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took[1:])


async def _ok(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert response.is_success, f"{client.headers['host']}{path}: {response.text[:300]}"


async def _page(client: httpx.AsyncClient, path: str, timeout_s: float = 60) -> None:
    """A page with all its panels: while processes start, some are missing."""
    deadline = time.monotonic() + timeout_s
    while True:
        text = (await client.get(path)).text
        if "aria-busy" not in text:
            return
        assert time.monotonic() < deadline, f"{path} is still loading"


async def _scrapes(ran: Morning) -> Times:
    """`GET /metrics` of each process that runs, at its own port."""
    processes = {
        one["name"]: one["pid"]
        for one in await ran.runtime.ask("services")
        if one.get("pid") and one["name"] in LISTS
    }
    took: dict[str, list[float]] = {name: [] for name in processes}
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        for _ in range(3):
            await asyncio.sleep(AGAIN_S)
            for name, pid in processes.items():
                sockets = psutil.Process(pid).net_connections("tcp")
                port = next(one.laddr.port for one in sockets if one.status == psutil.CONN_LISTEN)
                began = time.perf_counter()
                response = await client.get(f"http://127.0.0.1:{port}/metrics")
                took[name].append((time.perf_counter() - began) * 1000)
                unread = re.search(r"^function_unread_gauges.* (\d+)$", response.text, re.M)
                assert unread is None or unread[1] == "0", f"{name} lacks gauges"
    return {f"metrics {name}": statistics.median(times) for name, times in took.items()}


async def _sweeps(ran: Morning) -> Times:
    """What the latest sweeps took by the record of runs."""
    connection = await ran.runtime.connect("functions")
    found = {}
    for schedule, function in TICKS.items():
        rows = await connection.fetch(
            """SELECT took_ms FROM run WHERE function = $1 AND source <> '/year'
               AND type = 'dev.knative.sources.ping' ORDER BY ended_at DESC LIMIT $2""",
            *(function, SWEEPS),
        )
        if rows:
            found[f"sweep {schedule}"] = statistics.median(row["took_ms"] for row in rows)
    await connection.close()
    return found


def _store_events(broker: Path) -> None:
    """Events with one delivery each, as the broker stores them; it must not be running."""
    with sqlite3.connect(broker) as db:
        (last,) = db.execute("select max(seq) from event").fetchone()
        (delivery,) = db.execute("select max(id) from delivery").fetchone()
        now = time.time()
        for number in range(1, EVENTS + 1):
            output = {"id": f"b{number}", "type": "io.example.bench.v1", "source": "/bench"}
            output |= {"specversion": "1.0", "subject": f"S-{number % 1000}"}
            at = now - EVENTS + number
            row = (last + number, "dsm", "default", output["type"], at, 255, None)
            db.execute(
                "insert into event values (?,?,?,?,?,?,?,?,?,?)",
                (*row, json.dumps(output), "[]", b"{}"),
            )
            db.execute(
                "insert into delivery values (?,?,?,0,'delivered',1,0,?,null,null)",
                (delivery + number, last + number, "dsm/bench", at),
            )
            db.execute(
                """insert into attempt (delivery, number, url, at, took_s, status, answer)
                   values (?,1,'http://bench',?,0.01,202,?)""",
                (delivery + number, at, b""),
            )
