"""What goes on by itself while a process is awake: timers, the outbox, healing.

Nothing depends on it staying awake: all of it is rows, and a PingSource asks for a round each
minute, which wakes a process from zero if need be.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from functions.kit.errors import FunctionError
from functions.kit.store import Store
from functions.orchestrator import overdue, registry
from functions.orchestrator.batch import Item
from functions.orchestrator.decide.happenings import Woken
from functions.orchestrator.engine import Engine
from functions.orchestrator.writes import HOLD

logger = logging.getLogger(__name__)

MOST = 500
NOBODY = UUID(int=0)


class Clockwork:
    """Wakes runs when their timers are due, and sends what nobody has sent."""

    def __init__(self, store: Store, engine: Engine, now: Callable[[], datetime]) -> None:
        self._store = store
        self._engine = engine
        self._now = now
        self._next: datetime | None = None
        self._sooner = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        engine.on_due = self.at

    def start(self) -> None:
        """Run in the background until `close`."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop; what is due meanwhile is done by whoever comes next."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def at(self, due_at: datetime) -> None:
        """Have a look at `due_at` at the latest."""
        if self._next is None or due_at < self._next:
            self._next = due_at
            self._sooner.set()

    async def round(self) -> int:
        """Fire what is due, heal what can be healed, send what was left; return the runs woken."""
        woken = await self.fire()
        async with self._store.transaction() as tx:
            await registry.heal(tx, self._now())
        woken += await self.wake_waiting(None)
        await self.send_left()
        return woken

    async def fire(self) -> int:
        """Wake the runs whose timers are due."""
        count = 0
        while True:
            async with self._store.connection() as connection:
                due = await overdue.due(connection, self._now(), MOST)
            await self._wake(due)
            count += len(due)
            if len(due) < MOST:
                break
        async with self._store.connection() as connection:
            self._next = await overdue.next_timer(connection)
        return count

    async def wake_waiting(self, orch_name: str | None) -> int:
        """Wake the runs that wait for workers: those of one orchestration, or all."""
        count, after = 0, NOBODY
        while True:
            async with self._store.connection() as connection:
                waiting = await overdue.waiting(connection, orch_name, after, MOST)
            await self._wake(waiting)
            count += len(waiting)
            if len(waiting) < MOST:
                return count
            after = waiting[-1]

    async def send_left(self) -> None:
        """Send events that a process left behind, and forget those that have left."""
        async with self._store.connection() as connection:
            await overdue.forget_sent(connection, self._engine.take_sent())
            mine = list(self._engine.in_flight)
            if mine:
                await overdue.hold(connection, mine, self._now() + HOLD)
            for message in await overdue.take_unsent(connection, self._now(), MOST):
                self._engine.publish(message)

    async def _wake(self, flow_ids: list[UUID]) -> None:
        await asyncio.gather(*(self._engine.submit(Item(flow_id, Woken())) for flow_id in flow_ids))

    async def _run(self) -> None:
        """Fire timers when they are due; look after the outbox every few seconds."""
        looked_at: datetime | None = None
        while True:
            try:
                await self.fire()
                if looked_at is None or self._now() - looked_at > HOLD / 3:
                    looked_at = self._now()
                    await self.send_left()
            except FunctionError as error:
                logger.warning("the clockwork pauses: %s", error)
                self._next = self._now() + timedelta(seconds=1)
            await self._until_due()

    async def _until_due(self) -> None:
        pause = (HOLD / 3).total_seconds()
        if self._next is not None:
            pause = min(pause, (self._next - self._now()).total_seconds())
        self._sooner.clear()
        try:
            async with asyncio.timeout(max(pause, 0.02)):
                await self._sooner.wait()
        except TimeoutError:
            return
