"""Work after a commit: one run at a time in a process, however often it is triggered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context as ContextVars

from functions.kit.errors import FunctionError

logger = logging.getLogger(__name__)


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
