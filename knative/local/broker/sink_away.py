"""A dead letter sink that is away for longer than the retries last: its events are kept for it.

A delivery that fails for that is tried again until the sink takes it: one for each sink, so that a
long absence costs little, and all others once that one was taken.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)

# Begins the reason of such a delivery in the store.
AWAY = "the dead letter sink is away, and is tried again until it is back"
PAUSE_S = 30.0


async def try_forever(try_sinks: Callable[[], Awaitable[None]], pause_s: float) -> None:
    """Try the sinks after each pause, until cancelled."""
    while True:
        await asyncio.sleep(pause_s)
        try:
            await try_sinks()
        except (sqlite3.Error, TimeoutError) as error:  # a full disk, say: the next round may do
            logger.warning("the dead letter sinks could not be tried: %s", error)
