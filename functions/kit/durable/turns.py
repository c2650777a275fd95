"""Turns: how many sends go on at once, and few of them while the process has more urgent work.

A turn that ends begins the next one, so work that can wait goes on under load, in small shares.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Turns:
    """At most `limit` at once, `limit_under_load` while the process is under load; first come,
    first served."""

    def __init__(self, limit: int, limit_under_load: int) -> None:
        self.is_under_load: Callable[[], bool] = lambda: False
        self._limit = limit
        self._limit_under_load = limit_under_load
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self.give()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was given meanwhile
                self._end()
            raise

    async def __aexit__(self, *error: object) -> None:
        self._end()

    def give(self) -> None:
        """Let as many begin as may now."""
        limit = self._limit_under_load if self.is_under_load() else self._limit
        while self._waiting and self._taken < limit:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._taken += 1

    def _end(self) -> None:
        self._taken -= 1
        self.give()
