"""What is asked every few seconds costs the same however many runs are on record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from functions.kit import cloudevents
from functions.kit.durable import Store, history, outbox, retention
from functions.kit.durable.history import Wanted
from functions.kit.settings import DatabaseSettings
from tests.support import eventually
from tests.support.explained import pages

NOW = datetime.now(UTC)
# A month of runs of five functions, as SQL makes them: two schedules, one run in ten fails.
MONTH = """
    INSERT INTO run (function, source, id, type, ended_at, took_ms, outcome, detail)
    SELECT 'f' || n % 5, '/s',
        CASE n % 2 WHEN 0 THEN 'tick-' || n % 4 || '@2026-01-01T00:00:00+00:00' ELSE n::text END,
        CASE n % 2 WHEN 0 THEN 'dev.knative.sources.ping' ELSE 'test.event.v1' END,
        now() - interval '30 days' * n / 60000, 1,
        CASE n % 10 WHEN 0 THEN 'failed' ELSE 'ok' END,
        CASE n % 10 WHEN 0 THEN 'TemporaryError: away' END
    FROM generate_series(1, 60000) AS n"""


@pytest.fixture
async def month(new_database: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(new_database)
    await connection.execute("SET synchronous_commit = on")  # or VACUUM knows of no commit yet
    await connection.execute(MONTH)
    await connection.execute("VACUUM ANALYZE run")
    yield connection
    await connection.close()


@pytest.fixture
async def store(new_database: str) -> AsyncIterator[Store]:
    store = Store(DatabaseSettings.read({"DATABASE_URL": new_database}))
    yield store
    await store.close()


TALLY = history._TALLY.replace("$1", "NULL")  # as where the clock is no virtual one


@pytest.mark.parametrize("query", [TALLY, history._TICKS], ids=["tally", "ticks"])
async def test_a_scrape_reads_a_few_pages_of_a_month_of_runs(
    month: asyncpg.Connection[asyncpg.Record], query: str
) -> None:
    whole = await pages(month, "SELECT count(*) FROM run WHERE took_ms > 0")
    assert whole > 800
    assert await pages(month, query) < whole / 3


# What waits while the sink is away, leased by a process that tries to send it.
WAITING = """
    INSERT INTO outbox_event (function, partition_key, message, leased_until)
    SELECT 'f', n::text, '{}', now() + interval '30 s' FROM generate_series(1, 20000) AS n"""


@pytest.fixture(params=["", "; ANALYZE outbox_event"], ids=["uncounted", "counted"])
async def waiting(
    new_database: str, request: pytest.FixtureRequest
) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(new_database)
    await connection.execute(WAITING + request.param)
    yield connection
    await connection.close()


@pytest.mark.usefixtures("waiting")
async def test_an_event_is_stored_without_reading_those_that_wait(store: Store) -> None:
    message = cloudevents.Message("1", "/s", "t.v1", b"{}", extensions={"partitionkey": "7"})
    other = replace(message, id="2", extensions={"partitionkey": "new"})
    async with store.transaction() as tx:
        entries = await outbox.put(tx, "f", [message, other])
        read = await tx.fetchval(
            """SELECT seq_tup_read FROM pg_stat_xact_user_tables
               WHERE relname = 'outbox_event'"""
        )
    assert [entry.leased for entry in entries] == [False, True]
    assert read == 0


async def test_a_look_for_events_that_are_due_reads_a_few_pages(
    waiting: asyncpg.Connection[asyncpg.Record],
) -> None:
    whole = await pages(waiting, "SELECT count(*) FROM outbox_event WHERE message IS NOT NULL")
    assert whole > 100
    assert await pages(waiting, outbox._IS_DUE.replace("$1", "'f'")) < 20


async def test_what_is_found_by_index_is_what_is_there(
    month: asyncpg.Connection[asyncpg.Record], store: Store
) -> None:
    tally = await history.tally(store)
    counted = await month.fetch(
        """SELECT function, type, outcome, max(ended_at) AS ended_at FROM run
           GROUP BY function, type, outcome"""
    )
    assert {(r["function"], r["type"], r["outcome"], r["ended_at"]) for r in tally} == {
        tuple(row) for row in counted
    }
    assert sum(row["runs"] for row in tally) == await month.fetchval(
        "SELECT count(*) FROM run WHERE ended_at > now() - interval '1 day'"
    )
    assert [row["schedule"] for row in await history.ticks(store)] == ["tick-0", "tick-2"]

    latest = Wanted(limit=10, type="dev.knative.sources.ping", latest=True)
    (by_index, by_scan) = (
        await history.runs(store, "f0", latest),
        await history.runs(
            store,
            "f0",
            Wanted(limit=10, type=latest.type, latest=True, since=NOW - timedelta(days=60)),
        ),
    )
    assert by_index == by_scan
    assert len(by_index) == 2
    ticks = await history.latest_ticks(store)
    assert [tick for tick in ticks if tick["function"] == "f0"] == sorted(
        ({"function": "f0"} | tick for tick in by_index), key=lambda tick: str(tick["id"])
    )


async def test_old_runs_are_deleted_in_batches_and_young_ones_stay(
    month: asyncpg.Connection[asyncpg.Record], store: Store
) -> None:
    await retention.forget(store, "f0", days=15)
    oldest, left = await month.fetchrow(  # type: ignore[misc]  # a count is always a row
        "SELECT min(ended_at), count(*) FROM run WHERE function = 'f0'"
    )
    assert oldest > datetime.now(UTC) - timedelta(days=15, minutes=1)
    assert 5500 < left < 6500
    assert await month.fetchval("SELECT count(*) FROM run WHERE function = 'f1'") == 12000


# A month of answers and of steps, as SQL makes them.
ANSWERS = """
    INSERT INTO inbox (function, source, id, type, received_at)
    SELECT 'f' || n % 5, '/s', n::text, 't', now() - interval '30 days' * n / 60000
    FROM generate_series(1, 60000) AS n"""
STEPS = """
    INSERT INTO journal (function, key, step, result, took_ms, done_at)
    SELECT 'f' || n % 5, n::text, 'DO', '{}', 1, now() - interval '30 days' * n / 60000
    FROM generate_series(1, 60000) AS n"""


@pytest.mark.parametrize("table", ["inbox", "journal", "run"])
async def test_what_is_old_enough_to_be_deleted_is_found_by_its_age(
    month: asyncpg.Connection[asyncpg.Record], table: str
) -> None:
    await month.execute({"inbox": ANSWERS, "journal": STEPS, "run": "SELECT 1"}[table])
    await month.execute(f"VACUUM ANALYZE {table}")
    whole = await pages(month, f"SELECT count(*) FROM {table} WHERE {table}::text <> ''")
    (rule,) = [
        one
        for one in retention._of_kit("f0", retention.DAYS + 1, 400)
        if f"DELETE FROM {table} " in one.statement
    ]
    assert whole > 300
    assert await pages(month, rule.statement, rule.days, retention.BATCH) < 20


async def test_what_gets_old_while_a_process_lives_is_deleted_in_a_later_round(
    new_database: str, store: Store
) -> None:
    connection = await asyncpg.connect(new_database)

    async def grow_old() -> None:
        await connection.execute(
            """INSERT INTO run (function, source, id, type, ended_at, took_ms, outcome)
               VALUES ('f', '/s', '1', 't', now() - interval '31 days', 1, 'ok')"""
        )

    async def are_gone() -> bool:
        return bool(await connection.fetchval("SELECT count(*) = 0 FROM run"))

    await grow_old()
    keeping = asyncio.create_task(retention.keep_small(store, "f", every_s=0.05))
    try:
        await eventually(are_gone)
        await grow_old()
        await eventually(are_gone)
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await connection.close()
