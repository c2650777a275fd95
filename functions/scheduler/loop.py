"""The process's own wake-ups: at its start, and while something runs whose end lets another begin.

Nothing depends on them, as a process may be frozen between two requests: a PingSource wakes the
scheduler each minute.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context as ContextVars
from dataclasses import replace
from typing import TYPE_CHECKING

from functions.kit.context import Resources
from functions.kit.errors import FunctionError
from functions.scheduler.backfill import proceed
from functions.scheduler.wake import Woken, wake

if TYPE_CHECKING:
    from functions.kit.context import Context

logger = logging.getLogger(__name__)

MIN_PAUSE_S = 1.0
MAX_PAUSE_S = 15.0


class Loop:
    """One wake-up at a time in this process.

    `not_followed`: so many PingSources, at the latest look, cannot be read.
    """

    def __init__(self, resources: Resources) -> None:
        self._one = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self.not_followed = 0

    async def wake(self, ctx: Context) -> Woken:
        """Look at every schedule and every backfill once."""
        async with self._one:
            woken = await wake(ctx)
            if woken.sources is not None:
                given = woken.sources.values()
                self.not_followed = sum(bool(one.policy and one.problem) for one in given)
            return replace(woken, unfinished=woken.unfinished + await proceed(ctx, ctx.now()))

    def begin(self, ctx: Context, pause_s: float = MIN_PAUSE_S) -> None:
        """Wake up after a pause, and with longer ones until nothing runs any more."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(ctx, pause_s), context=ContextVars())

    async def idle(self) -> None:
        """Return when no wake-up is in progress."""
        async with self._one:
            pass

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self, ctx: Context, pause_s: float) -> None:
        while True:
            await asyncio.sleep(pause_s)
            try:
                if not (await self.wake(ctx)).unfinished:
                    return
            except FunctionError as error:
                logger.warning("the next wake-up makes good what this one left: %s", error)
            pause_s = min(max(pause_s * 2, MIN_PAUSE_S), MAX_PAUSE_S)
