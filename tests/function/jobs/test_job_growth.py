"""What retention deletes is found however many Jobs are on record."""

from __future__ import annotations

import asyncpg

from functions.job_launcher import listing, tables
from functions.kit.durable import Store, retention
from functions.kit.settings import DatabaseSettings
from tests.support.explained import pages

# A month of Jobs, one in a hundred still open.
MONTH = """
    INSERT INTO job (id, kind, task_id, service, group_name, supersede,
                     request, state, queued_at, ended_at)
    SELECT 'job-' || n, 'execute', 't' || n % 1000, 'shop', '', '', '{}',
        CASE n % 100 WHEN 0 THEN 'running' ELSE 'succeeded' END,
        now() - interval '30 days' * n / 20000,
        CASE WHEN n % 100 > 0 THEN now() - interval '30 days' * n / 20000 END
    FROM generate_series(1, 20000) AS n"""


async def test_old_jobs_are_found_by_their_end(new_database: str) -> None:
    connection = await asyncpg.connect(new_database)
    try:
        await connection.execute("SET synchronous_commit = on")  # or VACUUM knows of no commit yet
        await connection.execute(MONTH)
        await connection.execute("VACUUM ANALYZE job")
        whole = await pages(connection, "SELECT count(*) FROM job WHERE request <> '[]'")
        ended, *_ = tables.retention(60)
        read = await pages(connection, ended.statement, ended.days, retention.BATCH)
    finally:
        await connection.close()
    assert whole > 200
    assert read < 20


async def test_jobs_are_counted_up_to_a_limit(new_database: str) -> None:
    store = Store(DatabaseSettings.read({"DATABASE_URL": new_database}))
    async with store.connection() as connection:
        await connection.execute(MONTH)
        counted = [await listing.count(connection, one) for one in ({}, {"state": "running"})]
    await store.close()
    assert counted == [listing.MAX_COUNT, 200]
