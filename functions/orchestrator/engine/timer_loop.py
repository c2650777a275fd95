"""The timer loop of a process, and the sweep of each minute.

Timers are rows: a PingSource starts a sweep each minute, also from zero pods.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextvars import Context as ContextVars
from datetime import datetime, timedelta
from uuid import UUID

from functions.kit.durable import Store
from functions.kit.errors import FunctionError, TemporaryError
from functions.orchestrator.decide.inputs import Woken
from functions.orchestrator.engine import due_runs
from functions.orchestrator.engine.batch import Done, Item
from functions.orchestrator.engine.engine import Engine
from functions.orchestrator.registration import registration

logger = logging.getLogger(__name__)

BATCH = 500
# After an error of one run.
POSTPONED_FOR = timedelta(minutes=1)
PAUSE = timedelta(seconds=1)  # after an error of the loop
MAX_SLEEP = timedelta(seconds=5)  # another process may have set a timer
FIRST = UUID(int=0)


class TimerLoop:
    """Wakes runs whose timers are due. `last_fired_at`: the last time without an error."""

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
        self._rescheduled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.last_fired_at = now()
        engine.on_due = self.at

    def start(self) -> None:
        """Run in the background until `close`."""
        # An empty context: the first caller may be inside a transaction.
        self._task = asyncio.create_task(self._run(), context=ContextVars())

    async def close(self) -> None:
        """Stop; another process or the next sweep fires what is due."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def at(self, due_at: datetime) -> None:
        """Fire timers at `due_at` at the latest."""
        if self._next is None or due_at < self._next:
            self._next = due_at
            self._rescheduled.set()

    async def sweep(self) -> int:
        """Fire due timers, correct orchestrations' status; return the number of runs woken."""
        woken = await self.fire()
        async with self._store.transaction() as tx:
            await registration.heal(tx, self._now())
        return woken + await self.wake_waiting(None)

    async def fire(self) -> int:
        """Wake the runs whose timers are due, each once; return their number."""
        now, count, after = self._now(), 0, due_runs.START
        while True:
            async with self._store.connection() as connection:
                due = await due_runs.due(connection, now, after, BATCH)
            await self._wake([flow_id for _, flow_id in due])
            count += len(due)
            if len(due) < BATCH:
                break
            after = due[-1]
        async with self._store.connection() as connection:
            self._next = await due_runs.next_timer(connection)
        return count

    async def wake_waiting(
        self, orch_name: str | None, carried: Mapping[str, str] | None = None
    ) -> int:
        """Wake the runs that wait for workers: those of one orchestration, or all.

        `carried`: the correlation of the registration that they waited for.
        """
        now, count, after = self._now(), 0, FIRST
        while True:
            async with self._store.connection() as connection:
                waiting = await due_runs.waiting(connection, orch_name, after, BATCH, now)
            await self._wake(waiting, carried)
            count += len(waiting)
            if len(waiting) < BATCH:
                return count
            after = waiting[-1]

    async def _wake(self, flow_ids: list[UUID], carried: Mapping[str, str] | None = None) -> None:
        """Wake runs; postpone one that fails, without delay for the others."""
        items = [Item(flow_id, Woken(), carried=carried or {}) for flow_id in flow_ids]
        results = await asyncio.gather(
            *(self._engine.submit(item) for item in items), return_exceptions=True
        )
        failed = []
        for flow_id, result in zip(flow_ids, results, strict=True):
            if isinstance(result, TemporaryError) or not isinstance(result, Exception | Done):
                raise result
            if isinstance(result, Exception):
                logger.error("run %s cannot be woken and is postponed: %r", flow_id, result)
                failed.append(flow_id)
        if failed:
            async with self._store.connection() as connection:
                await due_runs.postpone(connection, failed, self._now() + POSTPONED_FOR)

    async def _run(self) -> None:
        """Fire timers when they are due; log every error and go on."""
        while True:
            try:
                await self.fire()
                self.last_fired_at = self._now()
            except Exception as error:
                known = isinstance(error, FunctionError)
                trace = None if known else error
                logger.warning("the timer loop pauses: %r", error, exc_info=trace)
                self._next = self._now() + PAUSE
            await self._until_due()

    async def _until_due(self) -> None:
        pause = MAX_SLEEP.total_seconds()
        if self._next is not None:
            pause = min(pause, (self._next - self._now()).total_seconds())
        self._rescheduled.clear()
        try:
            async with asyncio.timeout(max(pause, 0.02)):
                await self._rescheduled.wait()
        except TimeoutError:
            return
