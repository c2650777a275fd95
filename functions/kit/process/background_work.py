"""Work of a process beside its requests: triggered after a commit, one run at a time.

Rows that are worked on are leased: kept while the process lives, given back when it is stopped, and
due for any process `LEASE_S` after it has died.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import Context as ContextVars
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Generic, Protocol, TypeVar

from functions.kit.context import Context, Resources
from functions.kit.durable import Connection, Store
from functions.kit.errors import FunctionError

logger = logging.getLogger(__name__)

R = TypeVar("R")

LEASE_S = 30.0
MIN_PAUSE_S = 0.5  # between two runs of which the first has planned the second
STOP_S = 5.0  # work that is cancelled has so long to give its rows back


class CoalescedTask:
    """Run a coroutine in a task, one run at a time; triggers during a run share the next one."""

    def __init__(self, run: Callable[[], Awaitable[None]]) -> None:
        self._run_once = run
        self._triggered = False
        self._task: asyncio.Task[None] | None = None

    def trigger(self) -> None:
        self._triggered = True
        if not self.running():
            # An empty context: the caller may be inside a transaction or a trace.
            self._task = asyncio.create_task(self._run(), context=ContextVars())

    def running(self) -> list[asyncio.Task[None]]:
        """The task of the present run, if there is one."""
        return [] if self._task is None or self._task.done() else [self._task]

    async def _run(self) -> None:
        while self._triggered:
            self._triggered = False
            try:
                await self._run_once()
            except FunctionError as error:
                logger.warning("the next sweep goes on: %s", error)
            except Exception:
                logger.exception("the next sweep goes on")


class BackgroundWork:
    """A part of a process's resources, whose `work` does what is due."""

    def __init__(self, resources: Resources) -> None:
        self._ctx: Context | None = None
        self._task = CoalescedTask(self._run)
        self._timer: asyncio.TimerHandle | None = None

    async def work(self, ctx: Context) -> float | None:
        """Do what is due; return in how many seconds more will be, None: nothing waits."""
        raise NotImplementedError

    def trigger(self, ctx: Context) -> None:
        self._ctx = replace(ctx, tx=None)
        self._task.trigger()

    async def idle(self) -> None:
        """Return when nothing is at work."""
        for task in self.running():
            await task

    def running(self) -> list[asyncio.Task[None]]:
        return self._task.running()

    async def close(self) -> None:
        self._plan(None)
        for task in (tasks := self.running()):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_S)

    async def _run(self) -> None:
        assert self._ctx is not None, "triggered with a context"
        self._plan(await self.work(self._ctx))

    def _plan(self, delay_s: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if delay_s is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(MIN_PAUSE_S, delay_s), self._task.trigger)


class Rows(Protocol[R]):
    """Rows that are worked on one after the other: a module of queries is one."""

    async def lease(self, tx: Connection, now: datetime, seconds: float, /) -> R | None:
        """Take the row that is due for longest, for this process and so long."""

    async def keep(self, store: Store, row: R, seconds: float, /) -> None:
        """Prolong a lease; with 0 seconds the row is due at once, for any process."""

    async def next_due_s(self, connection: Connection, now: datetime, /) -> float | None:
        """In how many seconds a row is due that no process works on, if there is one."""


class LeasedWork(BackgroundWork, Generic[R]):
    """Background work on `rows`, each leased meanwhile. A row that fails costs no other."""

    rows: Rows[R]

    async def attempt(self, ctx: Context, row: R) -> None:
        """Work on one row; what is not settled waits for the lease's end."""
        raise NotImplementedError

    async def work(self, ctx: Context) -> float | None:
        while await self._next(ctx):
            pass
        async with ctx.store.connection() as connection:
            return await self.rows.next_due_s(connection, ctx.now())

    async def _next(self, ctx: Context) -> bool:
        async with ctx.store.transaction() as tx:
            row = await self.rows.lease(tx, ctx.now(), LEASE_S)
        if row is None:
            return False
        keep = partial(self.rows.keep, ctx.store, row)
        async with leased(partial(keep, LEASE_S), partial(keep, 0.0)):
            try:
                await self.attempt(ctx, row)
            except Exception:
                logger.exception("a row waits until its lease ends")
        return True


@asynccontextmanager
async def leased(
    prolong: Callable[[], Awaitable[None]],
    release: Callable[[], Awaitable[None]],
    every_s: float = LEASE_S / 3,
) -> AsyncIterator[None]:
    """Keep the lease on a row inside; give it back where the work is cancelled."""

    async def keep() -> None:
        while True:
            await asyncio.sleep(every_s)
            try:
                await prolong()
            except FunctionError as error:
                logger.warning("cannot keep a lease: %s", error)

    keeping = asyncio.create_task(keep())
    try:
        yield
    except asyncio.CancelledError:
        try:
            await release()
        except FunctionError as error:
            logger.warning("a row waits for its lease to end: %s", error)
        raise
    finally:
        keeping.cancel()
