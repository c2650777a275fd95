"""The end of containers on request: SIGTERM, and SIGKILL after a grace period."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from knative.local.kube.process import Process


class Stop:
    """`requested` at SIGTERM, `killed` where nothing is left of the grace period."""

    def __init__(self) -> None:
        self.requested, self._killed = asyncio.Event(), asyncio.Event()
        self._grace_s = 30.0
        self._until = 0.0

    def request(self, grace_s: float) -> None:
        """SIGTERM now, SIGKILL after `grace_s`; a second call may shorten it."""
        loop = asyncio.get_running_loop()
        if grace_s <= 0:
            self._killed.set()
        if not self.requested.is_set():
            self._grace_s = grace_s
            self._until = loop.time() + grace_s
        elif grace_s < self.remaining_s:
            self._until = loop.time() + grace_s
            loop.call_later(grace_s, self._killed.set)
        self.requested.set()

    @property
    def remaining_s(self) -> float:
        """What is left of the grace period, once it has begun."""
        remaining_s = self._until - asyncio.get_running_loop().time()
        return 0.0 if self._killed.is_set() else max(0.0, remaining_s)

    async def first(self, task: asyncio.Task[Any]) -> None:
        """Wait for the task or the request, whichever is first."""
        requested = asyncio.create_task(self.requested.wait())
        try:
            await asyncio.wait({task, requested}, return_when="FIRST_COMPLETED")
        finally:
            requested.cancel()

    async def ended(self, process: Process, memory_limit: int | None) -> int:
        """The exit code of a process, which is ended on request."""
        waiting = asyncio.create_task(process.wait(memory_limit))
        try:
            await self.first(waiting)
            if not waiting.done():
                process.signal(signal.SIGTERM)
                killed = asyncio.create_task(self._killed.wait())
                await asyncio.wait(
                    {waiting, killed}, timeout=self._grace_s, return_when="FIRST_COMPLETED"
                )
                killed.cancel()
            if not waiting.done():
                process.signal(signal.SIGKILL)
            return await waiting
        finally:
            process.signal(signal.SIGKILL)
