"""Claim, work, settle, relay: what holds when processes, sessions and brokers come and go.

Each `process` here is the durable core of one process: its own pool, session and relay.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from starlette.responses import PlainTextResponse

from functions.kit import cloudevents
from functions.kit.clients import transaction_guard
from functions.kit.context import Context, Resources
from functions.kit.durable import Connection, Durable, Key, Outcome, Store, inbox, outbox, relay
from functions.kit.durable.backoff import backoff_s
from functions.kit.durable.inbox import Answered
from functions.kit.durable.locks import CLAIM, Lock
from functions.kit.durable.retention import forget
from functions.kit.errors import PermanentError, TemporaryError
from tests.support import eventually
from tests.support.cluster import SINK, Cluster, Sink
from tests.support.loop_load import serving_others

KEY = Key("worker", "/tests", "1")
Process = Callable[[], Resources]


@pytest.fixture
async def process(cluster: Cluster, functions_database: str) -> AsyncIterator[Process]:
    """Starts the durable core of one more process."""
    started: list[Resources] = []

    def start() -> Resources:
        environ = {"DATABASE_URL": functions_database, "K_SINK": SINK}
        started.append(Resources(environ, transport=cluster))
        return started[-1]

    yield start
    for resources in started:
        await resources.close()


@pytest.fixture
async def database(functions_database: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(functions_database)
    yield connection
    await connection.close()


def event(id: str, key: str | None = None) -> cloudevents.Message:
    extensions = {} if key is None else {"partitionkey": key}
    return cloudevents.Message(id, "/functions/worker", "test.happened.v1", extensions=extensions)


async def settle(durable: Durable, id: str, *events: cloudevents.Message) -> Answered:
    """One event of the function `worker`, which emits `events`."""

    async def work() -> Outcome:
        return Outcome("done", events)

    return await durable.once(Key("worker", "/tests", id), "t", 10, work)


class Worker:
    """Work that begins and ends when a test says so."""

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.began = asyncio.Event()
        self.may_end = asyncio.Event()

    async def __call__(self) -> Outcome:
        self.began.set()
        await self.may_end.wait()
        return Outcome(self.answer, [event(self.answer)])


async def backend_of_claims(database: asyncpg.Connection[asyncpg.Record]) -> int:
    """The server's process that holds the claim on KEY."""
    number = CLAIM.key(KEY.function, KEY.source, KEY.id) % 2**64
    pid: int = await database.fetchval(
        """SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
           AND classid::bigint = $1 AND objid::bigint = $2""",
        *(number >> 32, number % 2**32),
    )
    return pid


class Overtaking:
    """A way to the sink on which each second request overtakes the one before, if any comes."""

    def __init__(self, sink: Sink) -> None:
        self.overtaken = 0
        self._sink = sink
        self._held: asyncio.Event | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        held, self._held = self._held, None
        if held is not None:
            await self._sink(scope, receive, send)
            held.set()
            return
        mine = self._held = asyncio.Event()
        with suppress(TimeoutError):
            await asyncio.wait_for(mine.wait(), 0.1)
            self.overtaken += 1
        if self._held is mine:
            self._held = None
        await self._sink(scope, receive, send)


class TestClaims:
    async def test_the_second_process_waits_for_the_first_and_takes_its_answer(
        self, process: Process
    ) -> None:
        first, second = Worker("first"), Worker("second")
        one = asyncio.create_task(process().durable.once(KEY, "t", 10, first))
        await first.began.wait()
        other = asyncio.create_task(process().durable.once(KEY, "t", 10, second))
        first.may_end.set()
        assert await one == Answered("first", repeated=False)
        assert await other == Answered("first", repeated=True)
        assert not second.began.is_set()

    @pytest.mark.parametrize("same_process", [True, False])
    async def test_who_waits_gives_up_at_the_deadline(
        self, process: Process, same_process: bool
    ) -> None:
        first = Worker("first")
        working = process()
        one = asyncio.create_task(working.durable.once(KEY, "t", 600, first))
        await first.began.wait()
        waiting = working if same_process else process()
        began = time.monotonic()
        with pytest.raises(TemporaryError, match="still being worked on"):
            await waiting.durable.once(KEY, "t", 0.3, Worker("second"))
        assert time.monotonic() - began < 60
        first.may_end.set()
        await one

    async def test_a_lost_session_settles_nothing_twice(
        self,
        process: Process,
        cluster: Cluster,
        database: asyncpg.Connection[asyncpg.Record],
    ) -> None:
        first, second = Worker("first"), Worker("second")
        resources = process(), process()
        one = asyncio.create_task(resources[0].durable.once(KEY, "t", 10, first))
        await first.began.wait()
        await database.execute("SELECT pg_terminate_backend($1)", await backend_of_claims(database))

        other = asyncio.create_task(resources[1].durable.once(KEY, "t", 10, second))
        await second.began.wait()
        second.may_end.set()
        assert await other == Answered("second", repeated=False)
        first.may_end.set()
        assert await one == Answered("second", repeated=True)

        for process_ in resources:
            await process_.durable.relay.idle()
        assert [message.id for message in cluster.sink.messages] == ["second"]
        # The next claim opens a session of its own.
        assert (await settle(resources[0].durable, "2")).repeated is False

    async def test_many_that_work_hold_one_connection(
        self, process: Process, database: asyncpg.Connection[asyncpg.Record]
    ) -> None:
        durable = process().durable
        workers = [Worker(str(n)) for n in range(20)]
        tasks = [
            asyncio.create_task(durable.once(Key("worker", "/tests", w.answer), "t", 10, w))
            for w in workers
        ]
        await asyncio.gather(*(w.began.wait() for w in workers))
        open_: int = await database.fetchval(
            """SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND state LIKE 'idle in transaction%'"""
        )
        assert open_ == 0
        locks: int = await database.fetchval(
            """SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_database ON database = oid
               WHERE locktype = 'advisory' AND datname = current_database()"""
        )
        assert locks == 1
        for worker in workers:
            worker.may_end.set()
        await asyncio.gather(*tasks)


class TestSettling:
    async def test_what_is_written_is_committed_with_the_answer_or_not_at_all(
        self, process: Process, cluster: Cluster, database: asyncpg.Connection[asyncpg.Record]
    ) -> None:
        await database.execute("CREATE TABLE counted (number integer CHECK (number < 3))")

        durable = process().durable

        async def count(number: int) -> None:
            async def write(tx: Connection) -> None:
                await tx.execute("INSERT INTO counted VALUES ($1)", number)

            async def work() -> Outcome:
                return Outcome(number, [event(str(number))], [write])

            await durable.once(Key("worker", "/tests", str(number)), "t", 10, work)

        await count(1)
        await count(2)
        with pytest.raises(asyncpg.CheckViolationError):
            await count(3)
        await durable.relay.idle()
        assert await database.fetchval("SELECT array_agg(number) FROM counted") == [1, 2]
        assert await database.fetchval("SELECT count(*) FROM inbox") == 2
        assert sorted(m.id for m in cluster.sink.messages) == ["1", "2"]

    async def test_a_key_that_was_used_for_something_else_is_refused(
        self, process: Process
    ) -> None:
        durable = process().durable

        async def work() -> Outcome:
            return Outcome("done")

        await durable.once(KEY, "t", 1, work, digest="a")
        assert (await durable.once(KEY, "t", 1, work, digest="a")).repeated
        with pytest.raises(PermanentError, match="'1' was used for another request"):
            await durable.once(KEY, "t", 1, work, digest="b")

    async def test_a_call_while_a_transaction_is_open_is_found(self, process: Process) -> None:
        resources = process()
        async with resources.store.transaction():
            await resources.publisher.publish([event("1")])
        assert transaction_guard.violations == [f"a call to {SINK} while a transaction is open"]
        transaction_guard.violations.clear()

    async def test_a_call_while_a_lock_over_many_is_held_is_found(self, process: Process) -> None:
        resources = process()
        ctx = Context(resources, "worker")
        async with ctx.alone(Lock("all of it")):
            await resources.publisher.publish([event("1")])
        assert transaction_guard.violations == [
            f"a call to {SINK} while the lock 'all of it' is held"
        ]
        transaction_guard.violations.clear()
        async with ctx.alone(Lock("one of them", of="name"), "a"):
            await resources.publisher.publish([event("2")])
        with pytest.raises(TypeError, match="is over name, not over"):
            Lock("one of them", of="name").key()


class TestCalls:
    """Calls of services, committed and made as events are sent."""

    async def commit(self, durable: Durable, store: Store, *ids: str) -> list[outbox.Entry]:
        calls = [event(id, "calls") for id in ids]
        async with store.transaction() as tx:
            entries = await durable.put(tx, "worker", calls, is_call=True)
        durable.deliver(entries)
        return entries

    async def test_calls_of_one_key_are_made_in_order_and_forgotten(self, process: Process) -> None:
        resources = process()
        made: list[str] = []

        async def make(call: cloudevents.Message) -> None:
            made.append(call.id)

        relay = resources.durable.relay
        relay.makes("worker", {"test.happened.v1": make})
        await self.commit(resources.durable, resources.store, "1", "2")
        assert await relay.until_sent("calls", 10, "the service") is None
        assert made == ["1", "2"]

    async def test_what_a_service_refuses_for_good_stays_on_record_and_holds_up_no_other(
        self, process: Process, cluster: Cluster
    ) -> None:
        resources = process()
        made: list[str] = []

        async def make(call: cloudevents.Message) -> None:
            if call.id == "bad":
                raise PermanentError("never")
            made.append(call.id)

        relay = resources.durable.relay
        relay.makes("worker", {"test.happened.v1": make})
        entries = await self.commit(resources.durable, resources.store, "bad", "good")
        assert await relay.until_sent("calls", 10, "the service") is None
        assert made == ["good"]
        numbers = [entry.number for entry in entries]
        assert await outbox.refusals(resources.store, numbers) == ["never"]
        assert cluster.sink.messages == []

    async def test_whoever_waits_learns_why_and_a_later_wait_tries_again(
        self, process: Process
    ) -> None:
        resources = process()
        away = True

        async def make(call: cloudevents.Message) -> None:
            if away:
                raise TemporaryError("away")

        relay = resources.durable.relay
        relay.makes("worker", {"test.happened.v1": make})
        await self.commit(resources.durable, resources.store, "1")
        assert await relay.until_sent("calls", 10, "the service") == "away"
        away = False
        assert await relay.until_sent("calls", 10, "the service") is None

    async def test_no_other_function_takes_over_a_call(
        self, process: Process, database: asyncpg.Connection[asyncpg.Record]
    ) -> None:
        dead, other, own = process(), process(), process()
        async with dead.store.transaction() as tx:
            await dead.durable.put(tx, "worker", [event("1")], is_call=True)
        await database.execute("UPDATE outbox_event SET leased_until = NULL")
        made: list[str] = []

        async def make(call: cloudevents.Message) -> None:
            made.append(call.id)

        other.durable.relay.makes("another", {"test.happened.v1": make})
        assert await other.durable.relay.sweep() == 0
        own.durable.relay.makes("worker", {"test.happened.v1": make})
        assert await own.durable.relay.sweep() == 1
        await own.durable.relay.idle()
        assert made == ["1"]


class TestRelay:
    async def test_events_of_one_key_leave_in_the_order_of_their_commits(
        self, process: Process, cluster: Cluster
    ) -> None:
        cluster.sink.open.clear()
        durables = [process().durable, process().durable]
        for number in range(20):
            await settle(durables[number % 2], str(number), event(f"{number:02}", "one"))
        cluster.sink.open.set()

        async def all_sent() -> bool:
            return len(cluster.sink.messages) == 20

        assert await eventually(all_sent)
        assert [m.id for m in cluster.sink.messages] == [f"{n:02}" for n in range(20)]

    async def test_where_each_request_is_overtaken_events_of_one_key_keep_their_order(
        self, process: Process, cluster: Cluster
    ) -> None:
        sink = Overtaking(cluster.sink)
        cluster.add("broker-ingress", sink)
        durables = [process().durable, process().durable]
        for number in range(12):
            keys = "ab" if number % 3 == 0 else "a"
            events = [event(f"{key}{number:02}", key) for key in keys]
            await settle(durables[number % 2], str(number), *events)

        async def all_sent() -> bool:
            return len({m.id for m in cluster.sink.messages}) == 16

        assert await eventually(all_sent)
        assert sink.overtaken > 0
        for key in "ab":
            arrived = [m.id for m in cluster.sink.messages if m.id.startswith(key)]
            assert arrived == sorted(arrived)

    async def test_a_broker_that_is_away_for_an_hour_loses_nothing_and_delays_no_answer(
        self, process: Process, cluster: Cluster, database: asyncpg.Connection[asyncpg.Record]
    ) -> None:
        """An hour is its attempts: each waits for longer, up to the longest pause there is."""
        assert backoff_s(120, relay.MIN_BACKOFF_S, relay.MAX_BACKOFF_S) == 30
        cluster.down.add("broker-ingress")
        resources = process()
        await settle(resources.durable, "before", event("a1", "a"), event("a2", "a"), event("b1"))

        async def all_failed() -> object:
            return await database.fetchval(
                "SELECT bool_and(attempts > 0) FROM outbox_event WHERE message ->> 'id' <> 'a2'"
            )

        assert await eventually(all_failed)
        await database.execute(
            """UPDATE outbox_event SET attempts = attempts + 120, leased_until = NULL,
                   created_at = now() - interval '1 hour'"""
        )
        async with asyncio.timeout(30):  # of an answer, which the broker's absence does not touch
            meanwhile = await settle(resources.durable, "meanwhile", event("a3", "a"))
        assert meanwhile == Answered("done", repeated=False)
        waiting = await outbox.unsent(resources.store)
        assert waiting.count == 4
        assert waiting.oldest_s > 3500
        await resources.close()
        assert cluster.sink.messages == []

        cluster.down.clear()
        await database.execute("UPDATE outbox_event SET leased_until = now()")
        process().durable.relay.start()

        async def all_sent() -> bool:
            return {m.id for m in cluster.sink.messages} == {"a1", "a2", "a3", "b1"}

        assert await eventually(all_sent)
        first = list(dict.fromkeys(m.id for m in cluster.sink.messages))
        assert [id for id in first if id.startswith("a")] == ["a1", "a2", "a3"]

    async def test_one_that_fails_is_followed_by_the_next_of_its_key_and_stops_no_other(
        self, process: Process, cluster: Cluster
    ) -> None:
        cluster.sink.statuses = [503]
        await settle(process().durable, "1", event("a1", "a"), event("a2", "a"), event("b1", "b"))

        async def all_sent() -> bool:
            return len(cluster.sink.messages) == 3

        assert await eventually(all_sent)
        sent = [m.id for m in cluster.sink.messages]
        assert sent.index("a1") < sent.index("a2")

    async def test_what_a_dead_process_has_left_is_sent_by_another_when_its_lease_ends(
        self, process: Process, cluster: Cluster, database: asyncpg.Connection[asyncpg.Record]
    ) -> None:
        dead = process()
        async with dead.store.transaction() as tx:
            await outbox.put(tx, "another function", [event("left", "k")])
        living = process().durable.relay
        living.start()
        assert await outbox.lease(dead.store, 10) == [], "another holds it for now"
        await database.execute("UPDATE outbox_event SET leased_until = now() - interval '1 s'")
        await living.sweep()

        async def sent() -> bool:
            return [m.id for m in cluster.sink.messages] == ["left"]

        assert await eventually(sent)

    def test_a_lease_and_a_sweep_together_take_no_more_than_seventy_seconds(self) -> None:
        assert outbox.LEASE_S + relay.SWEEP_S <= 70

    async def test_an_event_that_is_refused_is_a_dead_letter_and_stops_no_other(
        self, process: Process, cluster: Cluster
    ) -> None:
        dead = type(cluster.sink)()
        cluster.add("dead-letter", dead)
        cluster.sink.statuses = [413]
        await settle(process().durable, "1", event("big", "k"), event("next", "k"))

        async def both() -> bool:
            return bool(dead.messages) and bool(cluster.sink.messages)

        assert await eventually(both)
        assert [m.id for m in cluster.sink.messages] == ["next"]
        (dead_letter,) = dead.messages
        assert dead_letter.id == "big"
        assert dead_letter.extensions["knativeerrordest"] == SINK
        assert dead_letter.extensions["knativeerrorcode"] == "413"

    async def test_a_dead_letter_says_why_though_the_dead_letters_were_away_at_first(
        self, process: Process, cluster: Cluster, database: asyncpg.Connection[asyncpg.Record]
    ) -> None:
        async def refuse(scope: Any, receive: Any, send: Any) -> None:
            await PlainTextResponse("no \x00 such project " + "é" * 500, 422)(scope, receive, send)

        cluster.add("broker-ingress", refuse)
        first = process()
        await settle(first.durable, "1", event("bad", "k"))

        async def has_failed() -> object:
            return await database.fetchval("SELECT attempts > 0 AND cause <> '' FROM outbox_event")

        assert await eventually(has_failed)
        await first.close()
        dead = type(cluster.sink)()
        cluster.add("dead-letter", dead)
        await database.execute("UPDATE outbox_event SET leased_until = NULL")
        process().durable.relay.start()

        async def buried() -> object:
            return dead.messages

        assert await eventually(buried)
        data = dead.messages[0].extensions["knativeerrordata"]
        assert len(data) <= 1024
        assert base64.b64decode(data).decode(errors="replace").startswith("no \\0 such project éé")

    async def test_a_refused_event_waits_for_the_dead_letters_and_stops_no_other(
        self, process: Process, cluster: Cluster
    ) -> None:
        cluster.sink.statuses = [422]
        await settle(process().durable, "1", event("bad", "k"), event("next", "k"))

        async def sent() -> bool:
            return [m.id for m in cluster.sink.messages] == ["next"]

        assert await eventually(sent)
        dead = type(cluster.sink)()
        cluster.add("dead-letter", dead)

        async def buried() -> bool:
            return [m.id for m in dead.messages] == ["bad"]

        assert await eventually(buried)

    async def test_a_refused_event_stays_on_record_until_retention_deletes_it(
        self, process: Process, cluster: Cluster, database: asyncpg.Connection[asyncpg.Record]
    ) -> None:
        cluster.add("dead-letter", type(cluster.sink)())
        cluster.sink.statuses = [400]
        resources = process()
        await settle(resources.durable, "1", event("bad", "k"))
        await resources.durable.relay.idle()

        on_record = "SELECT refusal, dead_lettered_at IS NOT NULL FROM outbox_event"
        assert tuple(await database.fetchrow(on_record) or ()) == (400, True)
        assert (await outbox.unsent(resources.store)).count == 0
        assert await resources.durable.relay.sweep() == 0
        await forget(resources.store, KEY.function)
        assert await database.fetchrow(on_record)
        await database.execute("UPDATE outbox_event SET dead_lettered_at = now() - interval '31 d'")
        await forget(resources.store, KEY.function)
        assert not await database.fetchrow(on_record)

    async def test_a_process_leases_no_more_than_it_has_room_for(
        self, process: Process, cluster: Cluster, database: asyncpg.Connection[asyncpg.Record]
    ) -> None:
        durable = process().durable
        large = replace(event("large"), data=b"x" * (outbox.MAX_BYTES // 2 - 1))
        assert durable.relay.room_for([event("small"), large, large, large]) == 3
        assert durable.relay.room_for([replace(large, data=large.data * 3)]) == 0
        cluster.sink.open.clear()
        many = [event(f"{number}") for number in range(relay.MAX_IN_FLIGHT + 50)]
        await settle(durable, "many", *many)
        leased = "SELECT count(*) FROM outbox_event WHERE leased_until IS NOT NULL"
        assert await database.fetchval(leased) == relay.MAX_IN_FLIGHT
        assert durable.relay.room_for([event("another")]) == 0
        cluster.sink.open.set()

        async def all_sent() -> bool:
            return len({m.id for m in cluster.sink.messages}) == len(many)

        assert await eventually(all_sent)

    async def test_a_process_takes_no_more_than_its_memory_holds(self, process: Process) -> None:
        store = process().store
        large = [replace(event(f"{n}"), data=b"x" * 10_000) for n in range(3)]
        async with store.transaction() as tx:
            await outbox.put(tx, "worker", large, lease=0)
        taken = [await outbox.lease(store, 10, max_bytes) for max_bytes in (30_000, 1, 100_000)]
        assert [[e.message.id for e in entries] for entries in taken] == [["0", "1"], ["2"], []]
        assert [e.message for entries in taken for e in entries] == large

    async def test_under_load_few_events_are_sent_at_once_and_all_in_the_end(
        self, process: Process, cluster: Cluster
    ) -> None:
        cluster.sink.open.clear()
        resources = process()
        relay_ = resources.durable.relay
        is_under_load = True
        relay_.yield_to(lambda: is_under_load)
        await settle(resources.durable, "1", *(event(f"{n}") for n in range(40)))

        async def few_wait() -> bool:
            return cluster.sink.waiting == relay.MAX_UNDER_LOAD

        async def all_wait() -> bool:
            return cluster.sink.waiting == 40

        async def all_sent() -> bool:
            return len(cluster.sink.messages) == 40

        assert await eventually(few_wait)
        is_under_load = False  # those that are sending hang: others begin all the same
        assert await eventually(all_wait)
        is_under_load = True
        cluster.sink.open.set()
        assert await eventually(all_sent)

    async def test_a_process_that_ends_sends_what_it_has_committed(
        self, process: Process, cluster: Cluster
    ) -> None:
        cluster.sink.open.clear()
        resources = process()
        await settle(resources.durable, "1", event("last"))
        closing = asyncio.create_task(resources.close())
        cluster.sink.open.set()
        await closing
        assert [m.id for m in cluster.sink.messages] == ["last"]

    async def test_what_a_process_cannot_send_before_its_end_is_free_at_once(
        self, process: Process, cluster: Cluster
    ) -> None:
        cluster.sink.open.clear()
        ending, other = process(), process()
        await settle(ending.durable, "1", event("last"))
        await ending.durable.relay.close(drain_s=0.1)
        (entry,) = await outbox.lease(other.store, 10)
        assert entry.message.id == "last"

    async def test_sent_rows_are_gone(
        self, process: Process, database: asyncpg.Connection[asyncpg.Record]
    ) -> None:
        durable = process().durable
        for number in range(5):
            await settle(durable, str(number), event(str(number), "k"), event(f"{number}b"))

        async def gone() -> bool:
            return not await database.fetchval("SELECT count(*) FROM outbox_event")

        assert await eventually(gone)

    async def test_a_table_that_is_away_fails_before_anything_is_emitted(
        self, cluster: Cluster, postgres_url: str
    ) -> None:
        resources = Resources({"DATABASE_URL": postgres_url, "K_SINK": SINK}, transport=cluster)
        with pytest.raises(TemporaryError, match="migrate"):
            await settle(resources.durable, "1", event("1"))
        assert cluster.sink.messages == []
        await resources.close()


async def test_a_transaction_that_claims_and_settles_keeps_its_events_too(
    process: Process, cluster: Cluster
) -> None:
    resources = process()
    events = [event("1")]

    async def work(tx: Connection) -> str:
        entries[:] = await resources.durable.put(tx, "worker", events)
        return "done"

    entries: list[outbox.Entry] = []
    await inbox.once(resources.store, KEY, "t", 1, work)
    assert cluster.sink.messages == []
    resources.durable.deliver(entries)
    await resources.durable.relay.idle()
    assert [m.id for m in cluster.sink.messages] == ["1"]


async def test_parallel_commands_of_one_key_do_not_wait_for_one_another(process: Process) -> None:
    store = process().store
    for ordered, expected in ((True, [1, 0]), (False, [1, 1])):
        leased = []
        for n in range(2):
            command = event(f"{ordered}-{n}", f"run-{ordered}")
            async with store.transaction() as tx:
                entries = await outbox.put(tx, "worker", [command], ordered=ordered)
                leased.append(sum(entry.leased for entry in entries))
        assert leased == expected


@pytest.mark.parametrize("verbatim", [None, {"id": "1", "source": "/s", "type": "t"}])
async def test_the_largest_event_is_kept_and_read_beside_the_loop(
    process: Process, verbatim: dict[str, str] | None
) -> None:
    """As large as a delivery of GitHub may be."""
    data = b'{"a": "' + b"x" * 25_000_000 + b'"}'
    message = cloudevents.Message("1", "/s", "t", data, verbatim=verbatim)
    one, other = process(), process()
    async with serving_others():
        async with one.store.transaction() as tx:
            await outbox.put(tx, "worker", [message], lease=0)
        (entry,) = await outbox.lease(other.store, 10)
    assert entry.message.data == data
