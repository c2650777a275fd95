"""How long one turn of an event loop takes: who is served by it waits so long."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator

MAX_TURN_S = 0.2  # twice what a turn may take: machines differ by as much
_BEAT_S = 0.005


@contextlib.asynccontextmanager
async def serving_others(max_turn_s: float = MAX_TURN_S) -> AsyncIterator[None]:
    """Fail where the loop is held for more than `max_turn_s` of its thread's processor time.

    Processor time, as a busy machine is no fault. Without collections of garbage: in which thread's
    turn one falls is chance, and the longest are those of what the tests before have left.
    """
    longest_s = 0.0

    async def beat() -> None:
        nonlocal longest_s
        while True:
            before = time.thread_time()
            await asyncio.sleep(_BEAT_S)
            longest_s = max(longest_s, time.thread_time() - before)

    beating = asyncio.create_task(beat())
    gc.disable()
    await asyncio.sleep(0)
    try:
        yield
        await asyncio.sleep(2 * _BEAT_S)  # a turn that is long and last counts as well
    finally:
        gc.enable()
        beating.cancel()
    assert longest_s <= max_turn_s, f"nobody else was served for {longest_s:.3f} s"
