"""Who waits for whom: bounded, in all, and never for a connection that claims hold."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import asyncpg
import pytest

from functions.kit.durable import Connection, Store, checkpoints, history, inbox
from functions.kit.durable.locks import RELAY
from functions.kit.errors import PermanentError, TemporaryError
from functions.kit.settings import DatabaseSettings

KEY = inbox.Key("waiter", "/x", "1")


def store_of(url: str, **settings: str) -> Store:
    return Store(DatabaseSettings.read({"DATABASE_URL": url, **settings}))


@pytest.fixture
async def store(functions_database: str) -> Store:
    return store_of(functions_database)


async def nothing(tx: Connection) -> None:
    return None


async def test_a_lock_that_work_waits_for_ends_with_its_deadline(
    store: Store, functions_database: str
) -> None:
    async def wants_the_lock(tx: Connection) -> None:
        await RELAY.hold(tx)

    holder = await asyncpg.connect(functions_database)
    await holder.execute("SELECT pg_advisory_lock($1)", RELAY.key())
    began = time.monotonic()
    with pytest.raises(TemporaryError, match="still being worked on"):
        await inbox.once(store, KEY, "t", 0.5, wants_the_lock)
    assert 0.5 <= time.monotonic() - began < 4.0, "the server ends it, before the client does"
    await holder.close()
    await store.close()


async def test_two_who_do_a_step_at_once_go_on_with_the_one_result_that_is_recorded(
    store: Store,
) -> None:
    journal = checkpoints.Checkpoints(store, "waiter", "k")
    both = asyncio.Barrier(2)

    async def step(result: int) -> checkpoints.Step:
        async def work() -> int:
            await both.wait()
            return result

        return await journal.step("one", work)

    first, second = await asyncio.gather(step(1), step(2))
    assert first.result == second.result
    assert {first.repeated, second.repeated} == {False, True}
    await store.close()


async def test_a_run_ends_when_its_work_has_and_began_when_it_did(store: Store) -> None:
    async def work(tx: Connection) -> None:
        times.append(await tx.fetchval("SELECT clock_timestamp()"))

    async with store.connection() as connection:
        times = [await connection.fetchval("SELECT clock_timestamp()")]
    await inbox.once(store, KEY, "t", 1, work)
    (run,) = await history.runs(store, KEY.function, history.Wanted())
    before, at_work = times
    assert at_work < run["ended_at"]
    assert before < run["ended_at"] - timedelta(milliseconds=run["took_ms"])
    await store.close()


@pytest.mark.parametrize("error", [TimeoutError("a bug"), OSError("a bug"), KeyError("a bug")])
async def test_an_error_of_the_work_is_not_blamed_on_the_database(
    store: Store, error: Exception
) -> None:
    async def broken(tx: Connection) -> None:
        raise error

    with pytest.raises(type(error), match="a bug"):
        await inbox.once(store, KEY, "t", 1, broken)
    await store.close()


async def test_a_statement_that_takes_too_long_is_the_databases_error(store: Store) -> None:
    with pytest.raises(TemporaryError, match="database"):
        async with store.connection() as connection:
            await connection.execute("SELECT pg_sleep(5)", timeout=0.05)
    await store.close()


async def test_a_key_that_was_used_for_something_else_is_refused(store: Store) -> None:
    await inbox.once(store, KEY, "t", 1, nothing, digest="a")
    assert (await inbox.once(store, KEY, "t", 1, nothing, digest="a")).repeated
    with pytest.raises(PermanentError, match="'1' was used for another request"):
        await inbox.once(store, KEY, "t", 1, nothing, digest="b")
    await store.close()
