"""The broker goes on where it was, also after kill -9."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from knative.local.broker import (
    AiohttpSend,
    BrokerSpec,
    Delivery,
    EventRecord,
    LocalBroker,
    State,
    TriggerSpec,
)
from tests.support import eventually
from tests.support.receiver import Receiver, Say

EVENTS = 2000
PATIENT = Delivery(retry=4, backoff_policy="exponential", backoff_delay_s=0.2)


def headers(event_id: str, type_: str) -> list[tuple[bytes, bytes]]:
    pairs = {"specversion": "1.0", "id": event_id, "source": "/restart", "type": type_}
    return [(f"ce-{k}".encode(), v.encode()) for k, v in pairs.items()]


def make_broker(
    store: Path, sink: str, send: AiohttpSend, delivery: Delivery = PATIENT
) -> LocalBroker:
    triggers = [
        TriggerSpec("ns", kind, "default", {"type": kind}, None, f"{sink}/{kind}", delivery)
        for kind in ("question", "answer")
    ]
    return LocalBroker(store, [BrokerSpec("ns", "default")], triggers, send)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.start()
    yield receiver
    await receiver.stop()


@contextlib.asynccontextmanager
async def running(
    store: Path, receiver: Receiver, delivery: Delivery = PATIENT
) -> AsyncIterator[LocalBroker]:
    send = AiohttpSend()
    broker = make_broker(store, f"http://127.0.0.1:{receiver.port}", send, delivery)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop(grace_s=0)
        await send.close()


async def start_child(store: Path, receiver: Receiver, produce: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        str(store),
        f"http://127.0.0.1:{receiver.port}",
        str(produce),
        stdout=asyncio.subprocess.PIPE,
    )


async def child_says(child: asyncio.subprocess.Process, word: bytes) -> None:
    assert child.stdout
    async with asyncio.timeout(60):
        assert (await child.stdout.readline()).strip() == word


async def child_main(store: Path, sink: str, produce: int) -> None:
    """Run a broker; publish `produce` events; say when they are stored, and when all is done."""
    send = AiohttpSend()
    broker = make_broker(store, sink, send)
    await broker.start()
    publishing = [
        asyncio.create_task(
            broker.ingress("ns", "default", "POST", headers(str(n), "question"), b"")
        )
        for n in range(produce)
    ]

    async def all_stored() -> bool:
        return (await broker.counts())["events"] >= produce

    async def settled() -> bool:
        return broker.settled()

    await eventually(all_stored)
    print("stored", flush=True)
    await eventually(settled)
    print("settled", flush=True)
    await asyncio.gather(*publishing)
    await broker.stop()
    await send.close()


@pytest.mark.parametrize("moment", [0.0, 0.4, 0.9], ids=["at once", "midway", "near the end"])
async def test_two_thousand_queued_events_survive_kill_minus_9_and_none_is_lost(
    receiver: Receiver, tmp_path: Path, moment: float
) -> None:
    store = tmp_path / "broker.db"
    for n in range(EVENTS):
        reply = {
            "ce-specversion": "1.0",
            "ce-id": f"re-{n}",
            "ce-source": "/replies",
            "ce-type": "answer",
        }
        receiver.will_say("/question", str(n), Say(200, reply, hold_s=0.05))
    first = await start_child(store, receiver, EVENTS)
    await child_says(first, b"stored")

    async def now() -> bool:
        return len(receiver.requests("/question")) >= EVENTS * moment

    await eventually(now)
    first.send_signal(signal.SIGKILL)
    await first.wait()
    assert len(receiver.requests("/answer")) < EVENTS
    delivered = delivered_questions(store)

    second = await start_child(store, receiver, 0)
    await child_says(second, b"stored")
    await child_says(second, b"settled")
    await second.wait()

    questions = Counter(s.headers["ce-id"] for s in receiver.requests("/question"))
    answers = Counter(s.headers["ce-id"] for s in receiver.requests("/answer"))
    assert set(questions) == {str(n) for n in range(EVENTS)}
    assert set(answers) == {f"re-{n}" for n in range(EVENTS)}
    # Nothing is made again whose outcome was stored.
    assert not delivered & {id_ for id_, times in questions.items() if times > 1}

    async with running(store, receiver) as broker:
        events = await broker.events(limit=10 * EVENTS)
    assert {d.state for e in events for d in e.deliveries} == {State.DELIVERED}
    assert one_reply_for_each_question(events)


def delivered_questions(store: Path) -> set[str]:
    """Their ids, as stored by a broker that no longer runs."""
    with contextlib.closing(sqlite3.connect(store)) as db:
        found = db.execute(
            "select json_extract(attributes, '$.id') from event join delivery on event = seq"
            " where type = 'question' and state = 'delivered'"
        )
        return {id_ for (id_,) in found}


def one_reply_for_each_question(events: list[EventRecord]) -> bool:
    questions = {d.id for e in events if e.attributes["type"] == "question" for d in e.deliveries}
    causes = Counter(e.cause for e in events if e.attributes["type"] == "answer")
    return causes == Counter(questions)


async def test_a_retry_waits_out_its_time_across_a_restart_and_keeps_its_number(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.will_say("/question", "1", Say(503), Say(202))
    delivery = Delivery(retry=1, backoff_policy="exponential", backoff_delay_s=0.8)
    async with running(tmp_path / "b.db", receiver, delivery) as broker:
        publishing = asyncio.create_task(
            broker.ingress("ns", "default", "POST", headers("1", "question"), b"")
        )

        async def attempted() -> bool:
            return [len(e.deliveries[0].attempts) for e in await broker.events()] == [1]

        await eventually(attempted)
        publishing.cancel()
    async with running(tmp_path / "b.db", receiver, delivery) as broker:

        async def settled() -> bool:
            return broker.settled()

        await eventually(settled)
        (event,) = await broker.events()
    (made,) = event.deliveries
    assert [a.status for a in made.attempts] == [503, 202]
    assert made.attempts[1].at - made.attempts[0].at >= 0.8
    assert made.state is State.DELIVERED


async def test_dead_lettering_goes_on_after_a_restart_with_the_same_reason(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.will_say("/question", "1", Say(422, body=b'{"detail": "no"}'))
    receiver.will_say("/dead", "1", Say(503), Say(202))
    sink = f"http://127.0.0.1:{receiver.port}/dead"
    delivery = Delivery(1, "exponential", 0.5, dead_letter_uri=sink)
    async with running(tmp_path / "b.db", receiver, delivery) as broker:
        publishing = asyncio.create_task(
            broker.ingress("ns", "default", "POST", headers("1", "question"), b"")
        )

        async def first_dead_letter() -> bool:
            return bool(receiver.requests("/dead", "1"))

        await eventually(first_dead_letter)
        publishing.cancel()
    async with running(tmp_path / "b.db", receiver, delivery) as broker:

        async def settled() -> bool:
            return broker.settled()

        await eventually(settled)
        (lost,) = await broker.dead_letters()
    assert lost.deliveries[0].state is State.DEAD_LETTERED
    assert len(receiver.requests("/question", "1")) == 1
    failed_events = receiver.requests("/dead", "1")
    codes = {s.headers["ce-knativeerrorcode"] for s in failed_events}
    assert (codes, len({s.headers["ce-knativeerrordata"] for s in failed_events})) == ({"422"}, 1)


async def test_a_delivery_whose_trigger_is_gone_fails_with_a_reason(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.will_say("/question", "1", Say(503))
    async with running(tmp_path / "b.db", receiver) as broker:
        publishing = asyncio.create_task(
            broker.ingress("ns", "default", "POST", headers("1", "question"), b"")
        )

        async def called() -> bool:
            return bool(receiver.requests("/question", "1"))

        await eventually(called)
        publishing.cancel()
    broker = LocalBroker(tmp_path / "b.db", [BrokerSpec("ns", "default")], [], AiohttpSend())
    await broker.start()
    ((delivery,),) = [event.deliveries for event in await broker.events()]
    await broker.stop()
    assert (delivery.state, delivery.reason) == (State.FAILED, "its trigger is gone")


async def test_a_producer_whose_event_is_stored_while_the_broker_stops_is_reported_at_once(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with running(tmp_path / "b.db", receiver) as broker:
        publishing = asyncio.create_task(
            broker.ingress("ns", "default", "POST", headers("1", "question"), b"")
        )
        await asyncio.sleep(0)  # accepted, and not yet written
    async with asyncio.timeout(60):
        assert (await publishing).status == 202
    async with running(tmp_path / "b.db", receiver) as broker:
        await eventually(lambda: _settled(broker))
    assert receiver.requests("/question", "1"), "stored and lost"


async def _settled(broker: LocalBroker) -> bool:
    return broker.settled()


async def test_a_store_of_another_version_is_refused_with_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("pragma user_version=99")
    broker = LocalBroker(path, [BrokerSpec("ns", "default")], [], AiohttpSend())
    with pytest.raises(ValueError, match="has schema 99, expected 3"):
        await broker.start()


if __name__ == "__main__":
    asyncio.run(child_main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
