"""What goes on by itself while a process is awake: timers, healing.

Nothing depends on it staying awake: all of it is rows, and a PingSource asks for a round each
minute, which wakes a process from zero if need be.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from functions.kit.durable.database import Store
from functions.kit.errors import FunctionError, TemporaryError
from functions.orchestrator import overdue, registry
from functions.orchestrator.batch import Done, Item
from functions.orchestrator.decide.happenings import Woken
from functions.orchestrator.engine import Engine

logger = logging.getLogger(__name__)

MOST = 500
# A run that cannot be woken is looked at again after so long.
PUT_OFF = timedelta(minutes=1)
PAUSE = timedelta(seconds=1)  # after an error
LOOK = timedelta(seconds=5)  # at the latest: another process may have set a timer
NOBODY = UUID(int=0)


class Clockwork:
    """Wakes runs when their timers are due.

    `looked_at`: when it last did so without an error.
    """

    def __init__(
        self,
        store: Store,
        engine: Engine,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._engine = engine
        self._now = now
        self._next: datetime | None = None
        self._sooner = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.looked_at = now()
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
        """Fire what is due, heal what can be healed.

        Returns the runs woken.
        """
        woken = await self.fire()
        async with self._store.transaction() as tx:
            await registry.heal(tx, self._now())
        return woken + await self.wake_waiting(None)

    async def fire(self) -> int:
        """Wake the runs whose timers are due, each once."""
        now, count, after = self._now(), 0, overdue.START
        while True:
            async with self._store.connection() as connection:
                due = await overdue.due(connection, now, after, MOST)
            await self._wake([flow_id for _, flow_id in due])
            count += len(due)
            if len(due) < MOST:
                break
            after = due[-1]
        async with self._store.connection() as connection:
            self._next = await overdue.next_timer(connection)
        return count

    async def wake_waiting(
        self, orch_name: str | None, carried: Mapping[str, str] | None = None
    ) -> int:
        """Wake the runs that wait for workers: those of one orchestration, or all.

        `carried`: what the registration that they waited for hands on.
        """
        count, after = 0, NOBODY
        while True:
            async with self._store.connection() as connection:
                waiting = await overdue.waiting(connection, orch_name, after, MOST)
            await self._wake(waiting, carried)
            count += len(waiting)
            if len(waiting) < MOST:
                return count
            after = waiting[-1]

    async def _wake(self, flow_ids: list[UUID], carried: Mapping[str, str] | None = None) -> None:
        """Wake runs. One that cannot be woken is put off, and holds up nobody else."""
        items = [Item(flow_id, Woken(), carried=carried or {}) for flow_id in flow_ids]
        results = await asyncio.gather(
            *(self._engine.submit(item) for item in items), return_exceptions=True
        )
        failed = []
        for flow_id, result in zip(flow_ids, results, strict=True):
            if isinstance(result, TemporaryError) or not isinstance(result, Exception | Done):
                raise result
            if isinstance(result, Exception):
                logger.error("run %s cannot be woken and is put off: %r", flow_id, result)
                failed.append(flow_id)
        if failed:
            async with self._store.connection() as connection:
                await overdue.put_off(connection, failed, self._now() + PUT_OFF)

    async def _run(self) -> None:
        """Fire timers when they are due.

        Whatever goes wrong is logged and tried again: this task must outlive every error.
        """
        while True:
            try:
                await self.fire()
                self.looked_at = self._now()
            except Exception as error:
                known = isinstance(error, FunctionError)
                logger.warning("the clockwork pauses: %r", error, exc_info=None if known else error)
                self._next = self._now() + PAUSE
            await self._until_due()

    async def _until_due(self) -> None:
        pause = LOOK.total_seconds()
        if self._next is not None:
            pause = min(pause, (self._next - self._now()).total_seconds())
        self._sooner.clear()
        try:
            async with asyncio.timeout(max(pause, 0.02)):
                await self._sooner.wait()
        except TimeoutError:
            return
