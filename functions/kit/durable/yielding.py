"""Giving way: work that can wait does little while there is work that cannot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextvars import Context as ContextVars

MAX_S = 1.0  # longest wait, so that load that stays does not stop what waits
EVERY_S = 0.005


class Yielding:
    """Knows if a process is under load, and waits for the end of it; all that wait look once."""

    def __init__(self) -> None:
        self.is_under_load: Callable[[], bool] = lambda: False
        self._passing: asyncio.Task[None] | None = None

    async def give_way(self) -> None:
        """Return when the process is under load no more, at the latest after `MAX_S`."""
        if self.is_under_load():
            if self._passing is None or self._passing.done():
                self._passing = asyncio.create_task(self._passes(), context=ContextVars())
            await asyncio.shield(self._passing)

    async def _passes(self) -> None:
        deadline = time.monotonic() + MAX_S
        # An event in place of looking would cost each piece of that work more than this costs us.
        while self.is_under_load() and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(EVERY_S)
