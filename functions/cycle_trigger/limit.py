"""How many cycles this process works on at once; others wait, and no lock is held meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from functions.cycle_trigger.settings import CycleSettings
from functions.kit.context import Context, Resources
from functions.kit.errors import TemporaryError

MAX_WAIT_S = 30.0


class Limit:
    """The limit of one process, of which the manifest allows one."""

    def __init__(self, resources: Resources) -> None:
        self._free = asyncio.Semaphore(resources.settings(CycleSettings).cycle_concurrency)

    @asynccontextmanager
    async def place(self, ctx: Context) -> AsyncIterator[None]:
        """Wait for a place until the event's deadline, then raise `TemporaryError`."""
        try:
            async with asyncio.timeout(min(ctx.deadline - time.monotonic(), MAX_WAIT_S)):
                await self._free.acquire()
        except TimeoutError:
            raise TemporaryError("other cycles are being worked on") from None
        try:
            yield
        finally:
            self._free.release()
