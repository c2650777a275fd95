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

from functions.kit.context import Context, Resources
from functions.kit.errors import FunctionError

logger = logging.getLogger(__name__)

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
