"""What the broker keeps: for how long, how it is found again, and what a crash of memory loses."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from knative.local.broker import AiohttpSend, BrokerSpec, Delivery, LocalBroker, State, TriggerSpec
from knative.local.broker.records import Wanted
from knative.local.broker.retention import BATCH
from knative.local.broker.store import SCHEMA, VERSION
from tests.support import eventually
from tests.support.receiver import Receiver, Say

DAY_S = 86_400.0
RETRY = Delivery(retry=3, backoff_policy="linear", backoff_delay_s=60.0)


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.start()
    yield receiver
    await receiver.stop()


Open = Callable[..., contextlib.AbstractAsyncContextManager[LocalBroker]]


@pytest.fixture
def open_broker(tmp_path: Path, receiver: Receiver, clock: Clock) -> Open:
    """Runs a broker on one store; its Triggers a and b retry after a minute, c not at all."""
    sink = f"http://127.0.0.1:{receiver.port}"

    @contextlib.asynccontextmanager
    async def run(durable: bool = True) -> AsyncIterator[LocalBroker]:
        send = AiohttpSend()
        triggers = [
            TriggerSpec("ns", t, "default", {"type": t}, None, f"{sink}/{t}", delivery)
            for t, delivery in (("a", RETRY), ("b", RETRY), ("c", Delivery()))
        ]
        broker = LocalBroker(
            tmp_path / "broker.db",
            [BrokerSpec("ns", "default", Delivery(dead_letter_uri=None))],
            triggers,
            send,
            durable=durable,
            retention_s=7 * DAY_S,
            clock=clock,
        )
        await broker.start()
        try:
            yield broker
        finally:
            await broker.stop(grace_s=0)
            await send.close()

    return run


async def publish(broker: LocalBroker, type_: str, id_: str, **attributes: str) -> int:
    given = {"specversion": "1.0", "id": id_, "source": "/s", "type": type_, **attributes}
    headers = [(f"ce-{name}".encode(), text.encode()) for name, text in given.items()]
    return (await broker.ingress("ns", "default", "POST", headers, b"{}")).status


async def ids(broker: LocalBroker) -> list[str]:
    return [record.attributes["id"] for record in await broker.events(limit=10_000)]


async def attempted(broker: LocalBroker) -> None:
    async def tried() -> bool:
        return all(d.attempts for record in await broker.events() for d in record.deliveries)

    await eventually(tried)


async def test_settled_events_are_deleted_by_age_and_nothing_else_is(
    open_broker: Open, receiver: Receiver, clock: Clock
) -> None:
    receiver.will_say("/a", "waits", Say(503))
    receiver.will_say("/c", "failed", Say(422))
    async with open_broker() as broker:
        waiting = asyncio.create_task(publish(broker, "a", "waits"))
        await publish(broker, "c", "failed")
        await publish(broker, "b", "old")
        await publish(broker, "nobody", "old too")
        clock.now += 6 * DAY_S
        await publish(broker, "b", "young")
        await attempted(broker)
        assert await broker.sweep() == 0
        clock.now += 2 * DAY_S
        assert await broker.sweep() == 2
        assert sorted(await ids(broker)) == ["failed", "waits", "young"]
        assert (await broker.counts())["events"] == 3
        waiting.cancel()


async def test_numbers_are_not_given_again_when_all_was_deleted(
    open_broker: Open, clock: Clock
) -> None:
    async with open_broker() as broker:
        await publish(broker, "b", "1")
        await publish(broker, "nobody", "2")
        before = await broker.events()
    clock.now += 30 * DAY_S
    async with open_broker() as broker:
        await broker.sweep()
        await publish(broker, "b", "3")
        (after,) = [r for r in await broker.events() if r.attributes["id"] == "3"]
    assert after.seq > max(record.seq for record in before)
    assert after.deliveries[0].id > before[0].deliveries[0].id


async def test_more_than_a_batch_is_deleted_in_several(
    open_broker: Open, clock: Clock, tmp_path: Path
) -> None:
    async with open_broker() as broker:
        await publish(broker, "nobody", "0")
    with contextlib.closing(sqlite3.connect(tmp_path / "broker.db")) as db, db:
        db.executemany(
            "insert into event select ?, namespace, broker, type, arrived, ttl, cause, attributes,"
            " headers, data from event where seq = 1",
            [(seq,) for seq in range(2, 3 * BATCH)],
        )
    clock.now += 30 * DAY_S
    async with open_broker() as broker:

        async def swept() -> bool:
            return len(await broker.events(limit=9999)) == 1

        await eventually(swept)  # by the sweep at the start


async def test_a_store_of_before_the_indexes_is_found_in_as_well(
    open_broker: Open, tmp_path: Path
) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "broker.db")) as db:
        db.executescript(f"begin;{SCHEMA}pragma user_version={VERSION};commit;")
    async with open_broker() as broker:
        await publish(broker, "a", "1", subject="s")
        assert len(await broker.search(Wanted(subject="s"))) == 1


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(), ["4", "3", "2", "1"]),
        (Wanted(type="a"), ["2", "1"]),
        (Wanted(type="nobody"), ["4"]),
        (Wanted(type="%"), []),
        (Wanted(trigger="ns/b"), ["3"]),
        (Wanted(trigger="ns/"), ["3", "2", "1"]),
        (Wanted(subject="Zo\xeb \u706b"), ["2", "1"]),
        (Wanted(subject="Zo"), []),
        (Wanted(correlation="1"), ["3", "1"]),
        (Wanted(correlation="1", type="b"), ["3"]),
        (Wanted(correlation="\xe9"), ["4"]),
        (Wanted(before=3, limit=1), ["2"]),
        (Wanted(type="a", trigger="ns/a", subject="Zo\xeb \u706b", limit=1), ["2"]),
    ],
)
async def test_events_are_found_by_all_that_is_given(
    open_broker: Open, wanted: Wanted, found: list[str]
) -> None:
    async with open_broker() as broker:
        await publish(broker, "a", "1", subject="Zo\xeb \u706b")
        await publish(broker, "a", "2", subject="Zo%C3%AB%20%E7%81%AB", correlationid="x")
        await publish(broker, "b", "3", correlationid="1")
        await publish(broker, "nobody", "4", correlationid="%C3%A9")
        assert [r.attributes["id"] for r in await broker.search(wanted)] == found


@pytest.mark.parametrize(
    "wanted",
    [Wanted(subject="s"), Wanted(correlation="c"), Wanted(type="x"), Wanted(trigger="x")],
    ids=["subject", "correlation", "type", "trigger"],
)
async def test_a_search_that_finds_nothing_does_not_read_every_event(
    open_broker: Open, tmp_path: Path, wanted: Wanted
) -> None:
    async with open_broker() as broker:
        await publish(broker, "a", "1")
        with contextlib.closing(sqlite3.connect(tmp_path / "broker.db")) as db, db:
            db.execute(
                "with recursive n(i) as (select 2 union all select i + 1 from n where i < 40000)"
                " insert into event select i, namespace, broker, type, arrived, ttl, cause,"
                " json_set(attributes, '$.id', i), headers, data from event, n where seq = 1"
            )
            db.execute(
                "insert into delivery select seq, seq, 'ns/a', 0, 'delivered', 1, 0, arrived,"
                " null, null from event where seq > 1"
            )
        found = await broker.search(Wanted(limit=1))  # warm
        assert len(found) == 1
        began = time.perf_counter()
        assert await broker.search(wanted) == []
        took_s = time.perf_counter() - began
        began = time.perf_counter()
        with contextlib.closing(sqlite3.connect(tmp_path / "broker.db")) as db:
            db.execute("select count(json_extract(attributes, '$.x')) from event").fetchall()
        assert took_s < (time.perf_counter() - began) / 3


async def test_a_crash_of_memory_loses_what_was_under_way(
    open_broker: Open, receiver: Receiver
) -> None:
    receiver.will_say("/a", "retry", Say(503))
    receiver.will_say("/b", "call", Say(hold_s=60))
    async with open_broker() as broker:
        await publish(broker, "c", "done")
        producers = [
            asyncio.create_task(publish(broker, "a", "retry")),
            asyncio.create_task(publish(broker, "b", "call")),
        ]

        async def under_way() -> bool:
            retry = [d.attempts for r in await broker.events(type="a") for d in r.deliveries]
            return bool(retry and retry[0] and receiver.busy)

        await eventually(under_way)
        assert await broker.lose_deliveries() == 2
        assert await asyncio.gather(*producers) == [500, 500]
        assert broker.settled()
        states = {r.attributes["id"]: r.deliveries[0].state for r in await broker.events()}
    assert states == {"done": State.DELIVERED, "retry": State.FAILED, "call": State.FAILED}

    async with open_broker() as broker:
        assert broker.settled(), "nothing of it comes again"
        assert await publish(broker, "a", "new") == 202


@pytest.mark.parametrize("durable", [True, False], ids=["durable", "in memory"])
async def test_an_end_of_the_process_loses_what_was_under_way_only_if_it_is_configured_so(
    open_broker: Open, receiver: Receiver, durable: bool
) -> None:
    receiver.will_say("/a", "1", Say(503))
    async with open_broker() as broker:
        producer = asyncio.create_task(publish(broker, "a", "1"))
        await eventually(lambda: _attempts(broker))
    assert await producer == 202  # it is stored, and delivered after the next start
    async with open_broker(durable=durable) as broker:
        (record,) = await broker.events()
        assert record.deliveries[0].state is (State.PENDING if durable else State.FAILED)
        assert broker.settled() is not durable


async def _attempts(broker: LocalBroker) -> int:
    return sum(len(d.attempts) for record in await broker.events() for d in record.deliveries)
