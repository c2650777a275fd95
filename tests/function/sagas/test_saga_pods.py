"""Two orchestrators, one run: whatever two of them receive at once happens one after the other.

A third connection holds the run's row until both wait for it: the second one then starts from what
the first has written. Two inputs in every pair, in many situations, against the pure decision.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import UUID

import asyncpg
import pytest

from functions.events.saga import StepCommanded
from functions.kit import cloudevents
from functions.kit.durable import Relay, Store
from functions.kit.settings import DatabaseSettings
from functions.orchestrator.conditions import Conditions
from functions.orchestrator.decide.inputs import (
    Answered,
    CancelRequested,
    Input,
    PauseRequested,
    ResumeRequested,
    RetryRequested,
    UndoRequested,
    Woken,
)
from functions.orchestrator.decide.model import Action, Run, World
from functions.orchestrator.decide.run import decide
from functions.orchestrator.decide.timers import next_due
from functions.orchestrator.engine import run_store
from functions.orchestrator.engine.batch import Done, Item, Start
from functions.orchestrator.engine.engine import Engine
from functions.orchestrator.engine.run_store import Stored
from functions.orchestrator.orchestrator import new_flow_id
from functions.orchestrator.registration import registration
from functions.orchestrator.registration.registration_request import read
from tests.support import eventually

START = datetime(2026, 1, 5, 9, tzinfo=UTC)


def ok(step: str, action: Action = Action.DO) -> Answered:
    return Answered(step, action, True, 1, "w", result=step)


def fails(step: str) -> Answered:
    return Answered(step, Action.DO, False, 1, "w", error="boom", final=True)


INPUTS: dict[str, Input] = {
    "a succeeds": ok("a"),
    "b succeeds": ok("b"),
    "a fails": fails("a"),
    "c is done": ok("c"),
    "a is undone": ok("a", Action.UNDO),
    "ada undoes": UndoRequested("ada"),
    "ada cancels": CancelRequested("ada"),
    "ada pauses": PauseRequested("ada"),
    "ada resumes": ResumeRequested("ada"),
    "ada retries": RetryRequested("ada"),
    "a timer fires": Woken(),
}
# What has happened before: a and b go together, c after both.
SITUATIONS: dict[str, tuple[list[Input], float]] = {
    "two branches in flight": ([], 0),
    "paused before the join": ([ok("b"), PauseRequested("bob")], 0),
    "the last step in flight": ([ok("a"), ok("b")], 0),
    "timed out and not yet seen": ([ok("b")], 61),
    "one branch failed": ([ok("b"), fails("a"), ok("b", Action.UNDO)], 0),
    "on the way back": ([ok("a"), ok("b"), CancelRequested("bob"), fails("c")], 0),
    "completed": ([ok("a"), ok("b"), ok("c")], 0),
}


class Pods:
    """Two orchestrators, each with its own connections, and who gets between them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.now = START
        self.sent: list[cloudevents.Message] = []
        self.stores = [Store(DatabaseSettings(database_url=url)) for _ in range(2)]
        self.relays = [Relay(store, self) for store in self.stores]
        self.engines = [
            Engine(store, relay, lambda: self.now)
            for store, relay in zip(self.stores, self.relays, strict=True)
        ]

    async def publish(self, messages: Sequence[cloudevents.Message]) -> None:
        self.sent += messages

    async def dead_letter(self, message: cloudevents.Message, status: int, cause: str) -> None:
        raise AssertionError(f"the broker takes everything: {message} {status}")

    async def close(self) -> None:
        for engine, relay, store in zip(self.engines, self.relays, self.stores, strict=True):
            await engine.close()
            await relay.close()
            await store.close()

    async def register(self) -> None:
        common = {"timeout": 60, "retry": {"attempts": 2, "jitter": 0}}
        after = {"a": [], "b": [], "c": ["a", "b"]}
        steps = [{"name": name, "dependsOn": names} | common for name, names in after.items()]
        for role in ("initiator", "worker"):
            document = {"orchName": "o", "as": role, "type": "simultaneous", "steps": steps}
            async with self.stores[0].transaction() as tx:
                request = read(document)
                await registration.register(tx, request, "w", START)

    async def tell(self, pod: int, flow_id: UUID, what: Start | Input) -> Done:
        return await self.engines[pod].submit(Item(flow_id, what))

    async def look(self, flow_id: UUID) -> Stored:
        async with self.stores[0].transaction() as tx:
            stored = await run_store.read(tx, {}, flow_id)
        assert stored is not None
        return stored

    async def commands_since(self, before: Run, flow_id: UUID) -> Counter[str]:
        """What was sent for a run that stood so, once all of it has left."""
        for relay in self.relays:
            await relay.idle()
        known = {
            (name, action, attempt)
            for name, step in before.steps.items()
            for action, last in ((Action.DO, step.attempt), (Action.UNDO, step.undo_attempt))
            for attempt in range(1, last + 1)
        }
        sent = [
            (m.extensions["stepname"], m.extensions["action"], m.json()["attempt"])
            for m in self.sent
            if m.subject == str(flow_id) and m.type == StepCommanded.type
        ]
        return Counter(f"{a} {name} {n}" for name, a, n in sent if (name, a, n) not in known)

    async def begun(self, before: list[Input], later_s: float, count: int) -> list[UUID]:
        """So many runs, all of which have come so far."""
        self.now, flow_ids = START, [new_flow_id() for _ in range(count)]
        for what in (Start("o"), *before):
            await asyncio.gather(*(self.tell(0, flow_id, what) for flow_id in flow_ids))
        self.now += timedelta(seconds=later_s)
        return flow_ids

    async def at_once(
        self, holder: asyncpg.Connection, flow_id: UUID, received: tuple[Input, ...]
    ) -> None:
        """Tell each pod one thing while neither can go on, then let go."""
        asked: list[asyncio.Task[Done]] = []

        async def stuck() -> bool:
            """Has everybody come to wait for the lock, or gone on without it?"""
            await holder.execute("SELECT pg_stat_clear_snapshot()")
            waiting = await holder.fetchval(
                """SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'"""
            )
            return bool(waiting + sum(task.done() for task in asked) == len(asked))

        async with holder.transaction():
            await holder.execute(
                "SELECT FROM orchestration_run WHERE flow_id = $1 FOR UPDATE", flow_id
            )
            for pod, what in enumerate(received):
                asked.append(asyncio.create_task(self.tell(pod, flow_id, what)))
                await eventually(stuck, every_s=0.001)
        await asyncio.gather(*asked)


@pytest.fixture
async def pods(functions_database: str) -> AsyncIterator[Pods]:
    pods = Pods(functions_database)
    await pods.register()
    yield pods
    await pods.close()


@pytest.fixture
async def holder(functions_database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(functions_database)
    yield connection
    await connection.close()


@pytest.mark.parametrize("situation", SITUATIONS)
async def test_what_two_pods_receive_at_once_happens_one_after_the_other(
    pods: Pods, holder: asyncpg.Connection, situation: str
) -> None:
    pairs = list(product(INPUTS, repeat=2))
    flow_ids = await pods.begun(*SITUATIONS[situation], len(pairs))
    for flow_id, pair in zip(flow_ids, pairs, strict=True):
        before, received = await pods.look(flow_id), (INPUTS[pair[0]], INPUTS[pair[1]])
        await pods.at_once(holder, flow_id, received)
        after = await pods.look(flow_id)
        story = f"{' and '.join(pair)}: {after.run.status}"
        ways = [_pure(before, order, pods.now) for order in _orders(*received)]
        assert after.run in [run for run, _ in ways], story
        right = [commands for run, commands in ways if run == after.run]
        assert await pods.commands_since(before.run, flow_id) in right, story
        due_at = next_due(after.run, after.workers)
        assert (after.timer_at is None) is (due_at is None), f"{story}: its timer is lost"
        if due_at is not None and after.timer_at is not None:
            assert after.timer_at <= due_at, f"{story}: its timer is late"


def _orders(first: Input, second: Input) -> list[list[Input]]:
    """The ways in which two may follow one another; a timer gives way to whoever is at work."""
    orders = [[first, second], [second, first]]
    return [*orders, [w for w in (first, second) if not isinstance(w, Woken)]]


def _pure(stored: Stored, received: list[Input], now: datetime) -> tuple[Run, Counter[str]]:
    run, commands = stored.run, Counter[str]()
    for what in received:
        decision = decide(run, what, World(now, stored.workers, Conditions().holds))
        run = decision.run
        commands.update(f"{c.action} {c.step} {c.attempt}" for c in decision.commands)
    return run, commands
