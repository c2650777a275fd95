"""Who follows the broker's changes, each with a queue of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from knative.local.broker.records import Change

BACKLOG = 10_000  # changes that a slow follower may lag behind before it is let go


class Watchers:
    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[Change | None]] = set()

    def __bool__(self) -> bool:
        return bool(self._queues)

    def publish(self, change: Change) -> None:
        for queue in tuple(self._queues):
            if queue.qsize() < BACKLOG:
                queue.put_nowait(change)
            else:
                self._let_go(queue)

    def follow(self) -> AsyncIterator[Change]:
        """Changes from this call on; ends when the broker stops, or for one that lags behind."""
        queue: asyncio.Queue[Change | None] = asyncio.Queue()
        self._queues.add(queue)
        return self._drain(queue)

    def close(self) -> None:
        for queue in tuple(self._queues):
            self._let_go(queue)

    def _let_go(self, queue: asyncio.Queue[Change | None]) -> None:
        self._queues.discard(queue)
        queue.put_nowait(None)

    async def _drain(self, queue: asyncio.Queue[Change | None]) -> AsyncIterator[Change]:
        try:
            while (change := await queue.get()) is not None:
                yield change
        finally:
            self._queues.discard(queue)
