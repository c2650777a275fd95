"""A process dies at each statement, and after each commit, of a saga that goes forth and back.

What comes next is what a broker and another process do: unanswered events come again, and what is
left in the outbox is sent. The end must be that of an undisturbed run.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter, deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from functions.events.saga import RunEnded
from functions.kit import cloudevents
from functions.kit.durable import Relay, Store
from functions.kit.durable.database import explained
from functions.kit.errors import TemporaryError
from functions.kit.settings import DatabaseSettings
from functions.orchestrator.decide.inputs import Answered
from functions.orchestrator.decide.model import Action
from functions.orchestrator.engine import run_store
from functions.orchestrator.engine.batch import Item, Start
from functions.orchestrator.engine.deduplication import Claim
from functions.orchestrator.engine.engine import Engine
from functions.orchestrator.orchestrator import new_flow_id
from functions.orchestrator.registration import registration
from functions.orchestrator.registration.registration_request import read
from tests.support.crashing_store import CrashingStore


class Play:
    """One run of three steps, the last of which fails for good, so that the rest is undone."""

    def __init__(self, settings: DatabaseSettings, dies_at: int | None) -> None:
        self.now = datetime.now(UTC)
        self.broker: dict[str, cloudevents.Message] = {}
        self.settings = settings
        self.store = CrashingStore(settings, dies_at)
        self.flow_id = new_flow_id()
        self.deaths = 0

    async def run(self) -> tuple[Any, ...]:
        engine, answered = self.engine(), set[str]()
        claim = Claim("/tests", str(self.flow_id), "start")
        todo = deque([Item(self.flow_id, Start("crash"), claim)])
        while True:
            while todo:
                try:
                    await engine.submit(todo[0])
                except TemporaryError:  # the broker keeps the event, another process gets it
                    engine = await self.next_life(engine)
                    continue
                todo.popleft()
            await self.rest(engine)
            if answered == set(self.broker):
                await self.sweep()
                if answered == set(self.broker):
                    break
            todo += [self.answer(m) for i, m in self.broker.items() if i not in answered]
            answered = set(self.broker)
            engine = self.engine()
        self.store.dies_at = None
        end = await self.end()
        await self.store.close()
        return end

    async def rest(self, engine: Engine) -> None:
        await engine.close()
        await self.relay.idle()

    async def sweep(self) -> None:
        """What a process does later on: send what another one has left."""
        store = Store(self.settings)
        async with store.connection() as connection:  # by now no lease is left
            await connection.execute("UPDATE outbox_event SET leased_until = NULL")
        await store.close()
        engine = self.engine()
        try:
            while await self.relay.sweep():
                await self.relay.idle()
            if self.store.died_at is not None:  # while it sent the last event
                raise TemporaryError(self.store.died_at)
        except TemporaryError:
            await self.next_life(engine)
            await self.sweep()

    def engine(self) -> Engine:
        self.relay = Relay(self.store, self)
        return Engine(self.store, self.relay, lambda: self.now)

    async def next_life(self, engine: Engine) -> Engine:
        self.deaths += 1
        await self.rest(engine)
        await self.store.close()
        self.store = CrashingStore(self.settings)
        return self.engine()

    async def publish(self, messages: Sequence[cloudevents.Message]) -> None:
        for message in messages:
            with explained():
                self.store.step(f"when it sends {message.type}")
            if message.subject == str(self.flow_id):  # others are of other plays
                self.broker[message.id] = message

    async def dead_letter(self, message: cloudevents.Message, status: int, cause: str) -> None:
        raise AssertionError(f"the broker takes everything: {message} {status}")

    def answer(self, message: cloudevents.Message) -> Item:
        data = json.loads(message.data)
        action = Action(data.get("action", "DO"))
        able = data.get("stepName") != "c"
        what = Answered(data.get("stepName", "?"), action, able, data.get("attempt"), "w", 1)
        if message.type == RunEnded.type:  # nothing answers it: it comes back as nonsense
            what = Answered("no such step", Action.DO, True)
        return Item(UUID(data["flowId"]), what, Claim("/w", message.id, "answer"))

    async def end(self) -> tuple[Any, ...]:
        """How the run, its steps, its history and the world outside are at the end."""
        async with self.store.transaction() as tx:
            stored = await run_store.read(tx, {}, self.flow_id)
            # A death may have an answer delivered again, which is on record.
            history = await tx.fetch(
                """SELECT type, step_name, attempt FROM audit_event
                   WHERE flow_id = $1 AND type <> 'ANSWER_REPEATED' ORDER BY id""",
                self.flow_id,
            )
            left = await tx.fetchval("SELECT count(timer_at) FROM orchestration_run")
        assert stored is not None
        steps = {
            name: (s.status, s.attempt, s.undo_attempt, s.effect, s.result)
            for name, s in stored.run.steps.items()
        }
        sent = Counter(
            (m.type, m.extensions.get("stepname"), m.extensions.get("action"))
            for m in self.broker.values()
        )
        return stored.run.status, steps, [tuple(row) for row in history], sent, left


async def test_a_death_at_any_statement_changes_nothing_of_the_end(functions_database: str) -> None:
    settings = DatabaseSettings(database_url=functions_database)
    await _register(settings)
    undisturbed = Play(settings, None)
    expected = await undisturbed.run()
    assert expected[0] == "UNDONE"
    assert undisturbed.store.count > 20
    for dies_at in itertools.count(1):
        play = Play(settings, dies_at)
        assert await play.run() == expected, f"after a death at statement {dies_at}"
        if not play.deaths:
            break
    assert dies_at > 20


async def _register(settings: DatabaseSettings) -> None:
    store = Store(settings)
    retry = {"attempts": 1}
    steps = [{"seq": n, "name": name, "retry": retry} for n, name in enumerate("abc")]
    for role in ("initiator", "worker"):
        document = {"orchName": "crash", "as": role, "type": "sequential", "steps": steps}
        async with store.transaction() as tx:
            await registration.register(
                tx, read(document), "w", datetime.now(UTC) - timedelta(seconds=1)
            )
    await store.close()
