"""Group commit: what arrives together shares a transaction, and one bad item harms no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from functions.kit.durable import Connection, GroupCommit, Store, Written
from functions.kit.durable.group_commit import MAX_BYTES
from functions.kit.errors import PermanentError, TemporaryError
from functions.kit.settings import DatabaseSettings
from tests.conftest import MakeDatabase


@pytest.fixture
async def store(make_database: MakeDatabase) -> AsyncIterator[Store]:
    store = Store(DatabaseSettings.read({"DATABASE_URL": await make_database()}))
    async with store.connection() as connection:
        await connection.execute(
            "CREATE TABLE item (n int PRIMARY KEY, tx xid8 DEFAULT pg_current_xact_id())"
        )
    yield store
    await store.close()


async def write(tx: Connection, items: Sequence[int]) -> Written[int]:
    await tx.execute("INSERT INTO item (n) SELECT unnest($1::int[])", items)
    return Written([2 * n for n in items])


async def transactions(store: Store) -> list[int]:
    """How many items each transaction has written."""
    async with store.connection() as connection:
        rows = await connection.fetch("SELECT count(*) AS n FROM item GROUP BY tx ORDER BY tx")
    return [row["n"] for row in rows]


async def test_items_that_gather_share_a_transaction(store: Store) -> None:
    commits = GroupCommit(store.transaction, write)
    assert await commits.submit(0) == 0
    assert await asyncio.gather(*map(commits.submit, range(1, 21))) == list(range(2, 42, 2))
    assert commits.pending == 0
    assert await transactions(store) == [1, 20]


async def test_large_items_do_not_gather(store: Store) -> None:
    commits = GroupCommit(store.transaction, write, size=lambda item: MAX_BYTES)
    await asyncio.gather(*map(commits.submit, range(3)))
    assert await transactions(store) == [1, 1, 1]


async def test_an_item_that_spoils_a_batch_fails_alone(store: Store) -> None:
    commits = GroupCommit(store.transaction, write)
    await commits.submit(5)
    results = await asyncio.gather(*map(commits.submit, range(10)), return_exceptions=True)
    assert isinstance(results.pop(5), PermanentError)
    assert results == [2 * n for n in range(10) if n != 5]


async def test_a_database_that_is_away_fails_all_with_an_error_each() -> None:
    store = Store(DatabaseSettings.read({"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}))
    commits = GroupCommit(store.transaction, write)
    results = await asyncio.gather(*map(commits.submit, range(40)), return_exceptions=True)
    assert all(isinstance(error, TemporaryError) for error in results)
    assert len({id(error) for error in results}) == 40


async def test_what_was_submitted_is_written_before_close_returns(store: Store) -> None:
    commits = GroupCommit(store.transaction, write)
    waiting = [asyncio.ensure_future(commits.submit(n)) for n in range(300)]
    await asyncio.sleep(0)
    await commits.close()
    assert sum(await transactions(store)) == 300
    await asyncio.gather(*waiting)
