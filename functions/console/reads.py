"""Reads of other services: shared while they are in flight, and waited for only so long.

A caller waits until its deadline. The read itself goes on: a service that is slow or that starts
from zero answers the next caller, and one that hangs holds one read per address and no more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

from functions.kit.context import Resources
from functions.kit.errors import TemporaryError

# An answer that came after its caller had gone is kept for the next caller, seconds.
CACHE_S = 15.0


class Reads:
    """The reads of this process that are in flight."""

    def __init__(self, resources: Resources) -> None:
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}
        self._began: dict[Hashable, float] = {}
        self.actions = 0
        self._running: set[asyncio.Task[Any]] = set()

    async def get(
        self, name: str, key: Hashable, read: Callable[[], Awaitable[Any]], until: float
    ) -> Any:
        """What `read` returns, or what the same read in flight does.

        `TemporaryError` names the service where that is not there by `until`, which is by the
        monotonic clock.
        """
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.ensure_future(read())
            self._began[key] = time.monotonic()
            self._running.add(task)
            task.add_done_callback(lambda done: self._ended(key, done))
        remaining_s = max(0.0, until - time.monotonic())
        began = self._began[key]
        await asyncio.wait([task], timeout=remaining_s)
        if not task.done():
            waited_s = time.monotonic() - began
            raise TemporaryError(f"{name} has not answered for {waited_s:.1f} s")
        self._forget(key, task)
        return task.result()

    def forget(self) -> None:
        """Let no later read be answered by one that began before an action."""
        self.actions += 1
        self._tasks.clear()
        self._began.clear()

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _ended(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # seen, whether or not a caller is left to see it
        asyncio.get_running_loop().call_later(CACHE_S, self._forget, key, task)

    def _forget(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key], self._began[key]
