"""Two orchestrator processes on one database that die at any moment, and a world that plays tricks.

Engine, batch, timer_loop and statements are those of production; only the clock, the broker and the
workers are played, so a story that goes wrong goes wrong again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from hypothesis import note

from functions.events.saga import RunEnded, StepAnswered, StepCommanded
from functions.kit import cloudevents
from functions.kit.durable import Relay, Store
from functions.kit.durable.database import explained
from functions.kit.errors import NotFound, TemporaryError
from functions.kit.settings import DatabaseSettings
from functions.orchestrator.decide.inputs import Answered, Input
from functions.orchestrator.decide.model import Action, Run
from functions.orchestrator.engine import run_store
from functions.orchestrator.engine.batch import Done, Item, Start
from functions.orchestrator.engine.deduplication import Claim
from functions.orchestrator.engine.engine import Engine
from functions.orchestrator.engine.timer_loop import TimerLoop
from functions.orchestrator.intake import answer_of, event_in
from functions.orchestrator.registration import registration
from functions.orchestrator.registration.registration_request import read
from tests.support.crashing_store import CrashingStore
from tests.support.saga_model import Key, Sent, Workers

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
FLOW = UUID("00000000-0000-7000-8000-000000000001")
TABLES = (
    "audit_event, outbox_event, orchestration_step_run,"
    " orchestration_run, registration_audit, worker_registration, orchestration_step_template,"
    " orchestration_template, inbox"
)
T = TypeVar("T")


@dataclass(frozen=True)
class By:
    """Which of two processes is asked, and at which of its next statements it dies, if at all."""

    process: int = 0
    dies_at: int | None = None


class Process:
    """One life of an orchestrator."""

    def __init__(self, settings: DatabaseSettings, world: SagaMachine) -> None:
        self.store = CrashingStore(settings)
        self._broker = world.broker
        # Nothing in the background: the relay looks for rows when it is asked to.
        self.relay = Relay(self.store, self)
        # One batch at a time: which of two takes an item would be the event loop's choice.
        self.engine = Engine(self.store, self.relay, world.now, concurrency=1)
        self.timer_loop = TimerLoop(self.store, self.engine, world.now)

    async def publish(self, messages: Sequence[cloudevents.Message]) -> None:
        for message in messages:
            with explained():
                self.store.step(f"when it sends {message.type}")
            self._broker.setdefault(message.id, message)

    async def dead_letter(self, message: cloudevents.Message, status: int, cause: str) -> None:
        raise AssertionError(f"the broker takes everything: {message} {status}")

    async def close(self) -> None:
        await self.engine.close()
        await self.relay.idle()
        await self.store.close()


class SagaMachine:
    """One run of one orchestration. What it is asked to do, it also prints."""

    def __init__(self, settings: DatabaseSettings, reader: Store) -> None:
        self._settings = settings
        self._reader = reader
        self._now = START
        self._answers_made = 0
        self.broker: dict[str, cloudevents.Message] = {}
        self.workers = Workers()
        self.heard: dict[Key, datetime] = {}
        self.gone: dict[Key, datetime] = {}
        self.processes = [Process(settings, self) for _ in range(2)]

    def now(self) -> datetime:
        """No two looks at the clock are the same: what was decided first is known."""
        self._now += timedelta(microseconds=1)
        return self._now

    def passes(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)

    def tell(self, expected_text: str) -> None:
        note(f"{self._now:%H:%M:%S} {expected_text}")

    async def empty(self) -> None:
        async with self._reader.transaction() as tx:
            for table in TABLES.split(", "):
                await tx.execute(f"DELETE FROM {table}")

    async def close(self) -> None:
        for process in self.processes:
            await process.close()

    # What orchestrators do

    async def register(self, document: dict[str, Any], by: By, *, wakes: bool = True) -> None:
        """Register, and wake what waited for it, as the API does, unless it dies in between."""
        emitted = False

        async def registered(process: Process) -> None:
            nonlocal emitted
            if emitted:
                return
            async with process.store.transaction() as tx:
                done = await registration.register(tx, read(document), None, self.now())
            emitted = True
            for problem in done.problems:
                self.tell(f"{problem.field}: {problem.reason}")
            if wakes and not done.problems:
                await process.timer_loop.wake_waiting("o")

        await self._until_done(by, registered)

    async def work_for(
        self, names: Sequence[str], service: str, by: By, *, wakes: bool = True
    ) -> None:
        steps = [{"name": name} for name in names]
        document = {"orchName": "o", "as": "worker", "serviceName": service, "steps": steps}
        await self.register(document, by, wakes=wakes)

    async def leave(self, service: str, by: By) -> None:
        async def left(process: Process) -> None:
            async with process.store.transaction() as tx:
                await registration.leave(tx, "o", service, "ada", self.now())

        try:
            await self._until_done(by, left)
        except NotFound:
            self.tell(f"{service} does not work there")

    async def start(self, payload: Any, by: By) -> None:
        claim = Claim("/tests", "start", "start")
        await self.take([Item(FLOW, Start("o", payload), claim)], by)

    async def happens(self, given: Input, by: By) -> Done:
        """Something without an id of its own, as an operator's wish; one process takes it."""
        (done,) = await self.take([Item(FLOW, given)], by)
        return done

    async def take(self, items: Sequence[Item], by: By) -> list[Done]:
        """Let a process take items that arrive together."""

        async def taken(process: Process) -> list[Done]:
            return list(await asyncio.gather(*(process.engine.submit(item) for item in items)))

        return await self._until_done(by, taken)

    async def tick(self, by: By) -> None:
        """A PingSource asks for a round."""

        async def done(process: Process) -> None:
            await process.timer_loop.sweep()
            await process.relay.sweep()

        async with self._reader.connection() as connection:  # by now no lease is left
            await connection.execute("UPDATE outbox_event SET leased_until = NULL")

        await self._until_done(by, done)

    async def _until_done(self, by: By, work: Callable[[Process], Awaitable[T]]) -> T:
        """Whoever asked a process that died asks again, and finds the next one."""
        store = self.processes[by.process].store
        store.dies_at = None if by.dies_at is None else store.count + by.dies_at
        while True:
            process = self.processes[by.process]
            try:
                return await work(process)
            except TemporaryError:
                assert process.store.died_at is not None
            finally:
                await process.relay.idle()
                if process.store.died_at is not None:
                    self.tell(f"process {by.process} died {process.store.died_at}")
                    await process.close()
                    self.processes[by.process] = Process(self._settings, self)

    # What workers and the broker do

    def commands(self) -> list[Sent]:
        """All that was ever sent, in the order of arrival."""
        found = []
        for message in self.broker.values():
            if message.type == StepCommanded.type:
                found.append(self._sent(message))
        return found

    def _sent(self, message: cloudevents.Message) -> Sent:
        data = message.json()
        flow, step, round_ = data["effectKey"].split("/")
        assert (flow, step) == (str(FLOW), data["stepName"])
        action, attempt = Action(data["action"]), data["attempt"]
        return Sent(step, action, attempt, data["workerName"], int(round_))

    def work(self, sent: Sent, *, able: bool, final: bool = False) -> cloudevents.Message:
        """A worker works on a command; its answer is an event that may come once, twice or late."""
        answer = self.workers.do(sent, able=able, final=final)
        how = "success" if answer.success else "failure, final" if answer.final else "failure"
        self.tell(f"{sent}: {how}")
        if answer.success and answer.action is Action.UNDO:
            self.gone.setdefault(sent.key, self._now)
        return self.say(answer)

    def say(self, answer: Answered) -> cloudevents.Message:
        """An answer on the wire, with an id of its own."""
        self._answers_made += 1
        status = "SUCCESS" if answer.success else "FAILED"
        data = {
            "flowId": str(FLOW),
            "stepName": answer.step,
            "action": answer.action,
            "attempt": answer.attempt,
            "workerName": answer.worker,
            "result": answer.result,
            "metadata": {"status": status, "error": answer.error, "final": answer.final},
        }
        return cloudevents.Message(
            f"answer-{self._answers_made}", "/w", StepAnswered.type, json.dumps(data).encode()
        )

    async def deliver(self, messages: Sequence[cloudevents.Message], by: By) -> list[Done]:
        """The broker brings answers, all at once; one that is brought again has the same id."""
        items = []
        for message in messages:
            event = event_in(message, proven=False)
            assert isinstance(event, StepAnswered)
            flow_id, what = answer_of(event, named=True)
            items.append(Item(flow_id, what, Claim(message.source, message.id, message.type)))
        before = {(c.step, c.action, c.attempt): c.key for c in self.commands()}
        results = await self.take(items, by)
        for item, done in zip(items, results, strict=True):
            answered = item.what
            assert isinstance(answered, Answered)
            if done.repeated:
                how = "came before"
            else:
                how = f"is refused, {done.refused}" if done.refused else "counts"
            ok = "success" if answered.success else "failure"
            emitted = f"{answered.action} {answered.step} {answered.attempt} by {answered.worker}"
            self.tell(f"process {by.process}: {ok} of {emitted} {how}")
            if answered.success and answered.action is Action.DO and how == "counts":
                key = before[answered.step, Action.DO, answered.attempt or 0]
                self.heard.setdefault(key, self._now)
        return results

    # How it stands

    async def look(self) -> Run | None:
        async with self._reader.transaction() as tx:
            stored = await run_store.read(tx, {}, FLOW)
        return None if stored is None else stored.run

    async def left(self) -> dict[str, int]:
        """Timers and events that are still there."""
        async with self._reader.connection() as connection:
            return {
                what: await connection.fetchval(f"SELECT count({what}) FROM {table}")
                for what, table in (("timer_at", "orchestration_run"), ("number", "outbox_event"))
            }

    def last_news(self) -> set[tuple[str, str | None]]:
        """Status and reason of the run's last end; several where one batch has ended it twice."""
        ends = [m for m in self.broker.values() if m.type == RunEnded.type]
        last = max(m.sent_at or START for m in ends)
        return {(m.json()["status"], m.json()["reason"]) for m in ends if m.sent_at == last}

    def check_order(self, run: Run) -> None:
        """No undo was decided on before all that was known to build on it had been taken back."""
        definition = run.definition
        for message in self.broker.values():
            if message.type != StepCommanded.type or message.extensions["action"] != "UNDO":
                continue
            name, decided = message.extensions["stepname"], message.sent_at
            assert decided is not None
            for key, heard in self.heard.items():
                _, later, _ = key
                if later in definition.behind[name] and definition.by_name[later].undo:
                    gone = self.gone.get(key)
                    late = heard < decided and (gone is None or gone > decided)
                    assert not late, f"{name} was taken back before {later}"
