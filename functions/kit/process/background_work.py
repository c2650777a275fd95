"""Work of a process beside its requests: triggered after a commit, one run at a time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from functions.kit.context import Context, Resources
from functions.kit.durable.coalesced import CoalescedTask


class BackgroundWork:
    """A part of a process's resources, whose `work` does what is due."""

    def __init__(self, resources: Resources) -> None:
        self._ctx: Context | None = None
        self._task = CoalescedTask(self._run)

    async def work(self, ctx: Context) -> None:
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
        for task in self.running():
            task.cancel()

    async def _run(self) -> None:
        assert self._ctx is not None, "triggered with a context"
        await self.work(self._ctx)
