"""The local broker's own promises: durability, duplicates on demand, bounds, what can be read."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import threading
from pathlib import Path

import pytest

from knative.local.broker import (
    Answer,
    Headers,
    Send,
    State,
)
from knative.local.broker.http import Around
from knative.local.broker.journal import Journal
from knative.local.broker.records import Wanted
from knative.local.broker.store import Batch
from knative.local.faults import Faults, Targets
from tests.support import eventually
from tests.support.broker import Open, publish, wait_settled
from tests.support.receiver import Receiver, Say

CONCURRENCY = 40


def event_headers(event_id: str, type_: str) -> dict[str, str]:
    return {"ce-specversion": "1.0", "ce-id": event_id, "ce-source": "/r", "ce-type": type_}


async def test_a_producer_that_hangs_up_cancels_no_delivery(
    open_broker: Open, receiver: Receiver
) -> None:
    receiver.will_say("/a", "1", Say(hold_s=0.2))
    async with open_broker() as broker:
        producer = asyncio.create_task(publish(broker, "a", "1"))

        async def called() -> bool:
            return bool(receiver.requests("/a"))

        await eventually(called)
        producer.cancel()
        await wait_settled(broker)
        (event,) = await broker.events()
    assert event.deliveries[0].state is State.DELIVERED


async def test_a_producer_whose_event_is_kept_is_answered_when_the_broker_stops(
    open_broker: Open, receiver: Receiver
) -> None:
    receiver.will_say("/a", "1", Say(hold_s=5))
    async with open_broker() as broker:
        producer = asyncio.create_task(publish(broker, "a", "1"))

        async def called() -> bool:
            return bool(receiver.requests("/a"))

        await eventually(called)
    assert (await producer).status == 202
    assert (await publish(broker, "a")).status == 503


async def test_a_paused_broker_keeps_events_and_delivers_none(
    open_broker: Open, receiver: Receiver
) -> None:
    async with open_broker() as broker:
        await broker.pause()
        async with asyncio.timeout(60):
            assert (await publish(broker, "a", "1")).status == 202
    assert not receiver.requests("/a")
    async with open_broker() as broker:
        await wait_settled(broker)
    assert len(receiver.requests("/a")) == 1


def twice() -> Around:
    async def kill(host: str) -> None:
        raise AssertionError(f"nothing is killed: {host}")

    faults = Faults(kill, Targets({}, {}))
    faults.add("twice")
    return faults.call


async def test_deliver_twice_makes_each_successful_delivery_once_more_with_its_reply(
    open_broker: Open, receiver: Receiver
) -> None:
    receiver.will_say("/a", "1", Say(503), Say(200, event_headers("re-1", "b")))
    async with open_broker("a", "b", around=twice()) as broker:
        assert (await publish(broker, "a", "1")).status == 202
        await wait_settled(broker)
        events = await broker.events()
    assert len(receiver.requests("/a", "1")) == 3  # a failure, a success, and its duplicate
    assert len(receiver.requests("/b", "re-1")) == 4  # two replies, each delivered twice
    assert [[d.repeated for d in e.deliveries] for e in events] == [[False, True]] * 3
    assert {d.state for e in events for d in e.deliveries} == {State.DELIVERED}


async def test_a_dead_letter_is_not_made_twice(open_broker: Open, receiver: Receiver) -> None:
    receiver.will_say("/a", "1", Say(422))
    async with open_broker(around=twice()) as broker:
        await publish(broker, "a", "1")
        await wait_settled(broker)
        (lost,) = await broker.dead_letters()
    assert len(receiver.requests("/dead", "1")) == 1
    attempts = lost.deliveries[0].attempts
    assert [(one.status, one.sink) for one in attempts] == [(422, False), (202, True)]


async def test_an_error_body_that_would_crash_knative_fails_loudly_and_says_why(
    open_broker: Open, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.will_say("/a", "1", Say(422, body=b"x" * 769))
    async with open_broker() as broker:
        with caplog.at_level(logging.ERROR):
            assert (await publish(broker, "a", "1")).status == 500
        (lost,) = await broker.dead_letters()
    assert not receiver.requests("/dead", "1")
    assert lost.deliveries[0].state is State.FAILED
    assert "a body of 769 bytes: over 768 it crashes" in str(lost.deliveries[0].reason)
    assert "over 768 it crashes" in caplog.text


@pytest.mark.parametrize("again", [202, 422], ids=["taken", "a dead letter"])
async def test_what_failed_as_its_dead_letter_sink_was_away_is_kept_and_redriven(
    open_broker: Open, receiver: Receiver, again: int
) -> None:
    receiver.will_say("/a", "1", *[Say(503)] * 3, Say(again))
    receiver.will_say("/dead", "1", *[Say(503)] * 3, Say(202))
    async with open_broker() as broker:
        await publish(broker, "a", "1")
        await wait_settled(broker)
        (failed,) = await broker.dead_letters()
        assert failed.deliveries[0].state is State.FAILED
    async with open_broker() as broker:  # it outlasts the process, too
        assert await broker.redrive(failed.seq) == 1
        await wait_settled(broker)
        (event,) = await broker.events()
    wanted = State.DELIVERED if again == 202 else State.DEAD_LETTERED
    assert event.deliveries[0].state is wanted


@pytest.mark.parametrize("restarts", [False, True], ids=["at once", "after a restart"])
async def test_what_failed_as_its_dead_letter_sink_was_away_goes_on_once_that_is_back(
    open_broker: Open, receiver: Receiver, restarts: bool
) -> None:
    events, away_for = ("1", "2", "3"), 5  # attempts, of which the retries are three
    for event in events:
        receiver.will_say("/a", event, Say(422))
    receiver.will_say("/dead", "1", *[Say(503)] * away_for, Say(202))
    for event in events[1:]:
        receiver.will_say("/dead", event, *[Say(503)] * 3, Say(202))

    async with contextlib.AsyncExitStack() as stack:
        pause_s = 3600 if restarts else 0.05
        broker = await stack.enter_async_context(open_broker(sink_pause_s=pause_s))
        for event in events:
            assert (await publish(broker, "a", event)).status == 500
        if restarts:
            failed = [one.deliveries[0] for one in await broker.dead_letters()]
            assert [one.state for one in failed] == [State.FAILED] * 3
            assert all(str(one.reason).startswith("the dead letter sink is away") for one in failed)
            await stack.aclose()
            broker = await stack.enter_async_context(open_broker(sink_pause_s=0.05))

        async def all_are_taken() -> bool:
            found = [one.deliveries[0].state for one in await broker.events()]
            return found == [State.DEAD_LETTERED] * 3

        assert await eventually(all_are_taken)
    for event in events:
        assert len(receiver.requests("/a", event)) == 1, "its subscriber has refused it for good"
    assert len(receiver.requests("/dead", "1")) == away_for + 1
    for event in events[1:]:
        assert len(receiver.requests("/dead", event)) == 4, "one of them tries, for all"
    (seen, *_) = receiver.requests("/dead", "2")[-1:]
    assert seen.headers["ce-knativeerrorcode"] == "422"


async def test_what_its_dead_letter_sink_refuses_for_good_is_tried_no_more(
    open_broker: Open, receiver: Receiver
) -> None:
    receiver.will_say("/a", "1", Say(422))
    receiver.will_say("/dead", "1", Say(422))
    receiver.will_say("/a", "2", Say(422))
    receiver.will_say("/dead", "2", *[Say(503)] * 5, Say(202))
    async with open_broker(sink_pause_s=0.05) as broker:
        for event in ("1", "2"):
            assert (await publish(broker, "a", event)).status == 500

        async def other_is_taken() -> bool:
            return [one.deliveries[0].state for one in await broker.events()] == [
                State.FAILED,
                State.DEAD_LETTERED,
            ]

        assert await eventually(other_is_taken)
    assert len(receiver.requests("/dead", "1")) == 1


async def test_without_a_sink_a_large_error_body_is_an_ordinary_failure(
    open_broker: Open, receiver: Receiver
) -> None:
    receiver.will_say("/a", "1", Say(422, body=b"x" * 769))
    async with open_broker(dead=False) as broker:
        assert (await publish(broker, "a", "1")).status == 500
        (lost,) = await broker.dead_letters()
    assert lost.deliveries[0].reason == "status 422"


async def test_a_subscriber_may_publish_and_wait_while_it_is_called(
    open_broker: Open, receiver: Receiver
) -> None:
    def publishing(send: Send) -> Send:
        async def through(
            method: str, url: str, headers: Headers, body: bytes, timeout_s: float | None
        ) -> Answer:
            if url.endswith("/a"):
                return await publish(broker, "b")
            return await send(method, url, headers, body, timeout_s)

        return through

    async with open_broker("a", "b", through=publishing, concurrency=CONCURRENCY) as broker:
        answers = await asyncio.gather(*(publish(broker, "a") for _ in range(2 * CONCURRENCY)))
    assert {answer.status for answer in answers} == {202}
    assert len(receiver.requests("/b")) == 2 * CONCURRENCY


async def test_a_triggers_deliveries_are_bounded(open_broker: Open, receiver: Receiver) -> None:
    count = 3 * CONCURRENCY
    for n in range(count):
        receiver.will_say("/a", str(n), Say(hold_s=0.1))
    highest = 0
    async with open_broker(concurrency=CONCURRENCY) as broker:
        producers = [asyncio.create_task(publish(broker, "a", str(n))) for n in range(count)]
        while any(not p.done() for p in producers):
            highest = max(highest, receiver.busy)
            await asyncio.wait(producers, timeout=0.005)
    assert len(receiver.requests("/a")) == count
    assert 1 < highest <= CONCURRENCY


async def test_many_deliveries_that_hang_do_not_hold_up_the_next(open_broker: Open) -> None:
    released, called = asyncio.Event(), set[int]()

    def hanging(_: Send) -> Send:
        async def send(
            method: str, url: str, headers: Headers, body: bytes, timeout_s: float | None
        ) -> Answer:
            called.add(len(called))
            await released.wait()
            return Answer(202)

        return send

    async with open_broker(through=hanging) as broker:
        producers = [asyncio.create_task(publish(broker, "a", str(n))) for n in range(150)]

        async def all_called() -> bool:
            return len(called) == 150

        await eventually(all_called)
        released.set()
        await asyncio.gather(*producers)


async def test_an_event_shows_its_deliveries_and_every_attempt(
    open_broker: Open, receiver: Receiver
) -> None:
    receiver.will_say("/a", "1", Say(503, body=b"not now"), Say(202))
    async with open_broker() as broker:
        await publish(broker, "a", "1")
        (event,) = await broker.events()
        assert await broker.search(Wanted(after=event.seq - 1, before=event.seq + 1)) == [event]
    assert (event.attributes["id"], event.data, event.cause) == ("1", b"data", None)
    (delivery,) = event.deliveries
    assert (delivery.trigger, delivery.state, delivery.repeated) == (
        "ns/a",
        State.DELIVERED,
        False,
    )
    first, second = delivery.attempts
    assert (first.number, first.status, first.answer) == (1, 503, b"not now")
    assert (first.reason, second.reason) == ("status 503", None)
    assert second.status == 202
    assert second.at > first.at > 0
    assert first.took_s > 0


async def test_a_reply_names_the_delivery_that_it_answers(
    open_broker: Open, receiver: Receiver
) -> None:
    receiver.will_say("/a", "1", Say(200, event_headers("re-1", "b")))
    async with open_broker("a", "b") as broker:
        await publish(broker, "a", "1")
        question, answer = await broker.events()
    assert answer.cause == question.deliveries[0].id
    assert answer.ttl == question.ttl - 1


async def test_events_are_read_by_type_and_page_by_page(open_broker: Open) -> None:
    async with open_broker("a", "b") as broker:
        for n in range(5):
            await publish(broker, "a" if n % 2 else "b", str(n))
        latest = await broker.events(limit=2)
        of_type = await broker.events(type="b")
        page = await broker.events(since=latest[0].seq - 3, limit=2)
    assert [e.attributes["id"] for e in latest] == ["3", "4"]
    assert [e.attributes["id"] for e in of_type] == ["0", "2", "4"]
    assert [e.attributes["id"] for e in page] == ["1", "2"]


async def test_counts_tell_what_became_of_all_deliveries(
    open_broker: Open, receiver: Receiver
) -> None:
    receiver.will_say("/a", "lost", Say(422))
    async with open_broker() as broker:
        await publish(broker, "a")
        await publish(broker, "a", "lost")
        await publish(broker, "nobody listens")
        counts = await broker.counts()
    assert counts == {
        "events": 3,
        "pending": 0,
        "dead-lettering": 0,
        "delivered": 1,
        "dead-lettered": 1,
        "failed": 0,
    }


async def test_a_follower_sees_each_step(open_broker: Open, receiver: Receiver) -> None:
    receiver.will_say("/a", "1", Say(503), Say(422))
    async with open_broker() as broker:
        changes = broker.follow()
        await publish(broker, "a", "1")
    seen = [(c.state, c.attempt, c.status) async for c in changes]
    assert sorted(seen, key=lambda c: c[1] or 0) == [
        (None, None, None),
        (State.PENDING, 1, 503),
        (State.DEAD_LETTERING, 2, 422),
        (State.DEAD_LETTERED, 3, 202),
    ]


async def test_what_cannot_be_stored_is_answered_500_and_not_delivered(
    open_broker: Open, receiver: Receiver, tmp_path: Path
) -> None:
    async with open_broker() as broker:
        with contextlib.closing(sqlite3.connect(tmp_path / "broker.db")) as disk:
            disk.execute(
                "create trigger full before insert on event"
                " begin select raise(abort, 'the disk is full'); end"
            )
            assert (await publish(broker, "a", "1")).status == 500
            disk.execute("drop trigger full")
        assert (await publish(broker, "a", "2")).status == 202
        assert [e.attributes["id"] for e in await broker.events()] == ["2"]
    assert not receiver.requests("/a", "1")


async def test_rows_that_come_while_a_batch_is_written_go_into_the_next_one() -> None:
    batches: list[Batch] = []
    journal = Journal(batches.append)
    for n in range(3):
        journal.open_batch().events.append((n,))
    await journal.flush()
    journal.open_batch().events.append((3,))
    await journal.close()
    assert [batch.events for batch in batches if batch.events] == [[(0,), (1,), (2,)], [(3,)]]
    assert journal.idle


async def test_the_journal_is_closed_when_the_work_of_a_cancelled_caller_has_ended() -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> int:
        begun.set()
        may_end.wait(10)
        ended.set()
        return 0

    batches: list[Batch] = []
    journal = Journal(batches.append)
    caller = asyncio.create_task(journal.run(work))
    await asyncio.to_thread(begun.wait, 10)
    caller.cancel()
    closing = asyncio.create_task(journal.close())
    asyncio.get_running_loop().call_later(0.05, may_end.set)
    await closing
    assert ended.is_set()
