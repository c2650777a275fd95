"""`GET /metrics`: what this process has counted, and what its tables hold."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from functions.kit.context import Context
from functions.kit.contract.handle import Gauges
from functions.kit.durable import history
from functions.kit.durable.outbox import unsent
from functions.kit.errors import FunctionError
from functions.kit.telemetry.metrics import Gauge, families, lateness

logger = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
TIMEOUT_S = 3.0  # of a read of the tables: a scrape gives up after ten
MAX_AGE_S = 5.0  # however often the page is asked for, the tables are read no more often


async def database(ctx: Context) -> list[Gauge]:
    """Whether this process reaches its database."""
    try:
        async with asyncio.timeout(TIMEOUT_S / 2), ctx.store.connection() as connection:
            up = await connection.fetchval("SELECT 1")
    except (FunctionError, TimeoutError) as error:
        logger.warning("the database is away: %s", error)
        up = 0
    return [Gauge("function_database_up", "1 if the database answers, else 0", up)]


async def outbox(ctx: Context) -> list[Gauge]:
    """The outbox that the functions of this database share."""
    found = await unsent(ctx.store)
    oldest = "Seconds for which the oldest event has waited to be sent"
    return [
        Gauge("function_outbox_waiting", "Events and calls that are not sent yet", found.count),
        Gauge("function_outbox_oldest_seconds", oldest, found.oldest_s),
    ]


async def runs(ctx: Context) -> list[Gauge]:
    """The record of runs of all functions of this database: it outlives every process."""
    tally: dict[tuple[tuple[str, str], ...], tuple[float, int]] = {}
    for row in await history.tally(ctx.store):
        name = row["function"].replace("_", "-")
        labels = {"target": name, "type": row["type"], "outcome": row["outcome"]}
        if row["failure_kind"]:
            labels["kind"] = row["failure_kind"]
        last, count = tally.get(tuple(labels.items()), (0.0, 0))
        ended = row["ended_at"].timestamp()
        tally[tuple(labels.items())] = max(last, ended), count + row["runs"]
    found = []
    ended_help, day_help = "When a function's latest run ended", "Runs ended in the last 24 hours"
    for kind, (last, count) in tally.items():
        found.append(Gauge("function_last_run_timestamp_seconds", ended_help, last, dict(kind)))
        found.append(Gauge("function_runs_last_day", day_help, count, dict(kind)))
    for row in await history.ticks(ctx.store):
        schedule = {"schedule": row["schedule"]}
        name, help_ = "function_schedule_last_timestamp_seconds", "When a schedule last was handled"
        found.append(Gauge(name, help_, row["began_at"].timestamp(), schedule))
        found.append(lateness(row["schedule"], row["late_s"]))
    return found


class Tables:
    """The gauges of the tables, read once for all scrapes within a few seconds."""

    def __init__(self, readers: Sequence[Gauges], kept_s: float = MAX_AGE_S) -> None:
        self._readers = readers
        self._kept_s = kept_s
        self._one = asyncio.Lock()
        self._read_at = float("-inf")
        self._found: list[Gauge] = []

    async def gauges(self, ctx: Context) -> list[Gauge]:
        """All of them; those that cannot be read are missing, which is itself a number."""
        async with self._one:
            if time.monotonic() - self._read_at >= self._kept_s:
                self._found = await self._read(ctx)
                self._read_at = time.monotonic()
            return self._found

    async def _read(self, ctx: Context) -> list[Gauge]:
        found: list[Gauge] = []
        unread = 0
        for read in self._readers:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    found += await read(ctx)
            except Exception as error:
                logger.warning("cannot read gauges: %s: %s", type(error).__name__, error)
                unread += 1
        help_ = "Groups of gauges that could not be read from the tables"
        return [*found, Gauge("function_unread_gauges", help_, unread)]


async def page(ctx: Context, tables: Tables) -> str:
    """The whole page."""
    labels = {"function": ctx.function.replace("_", "-")}
    meter = ctx.resources.meter
    # What is on record outlives us: it comes last, and wins.
    found = [*meter.gauges(), *await tables.gauges(ctx)]
    return "\n".join((*meter.text(labels), *families(found, labels), ""))
