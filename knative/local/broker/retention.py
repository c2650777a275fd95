"""Old events leave the store, a few at a time: nothing waits long for the writer."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable

from knative.local.broker.journal import Journal
from knative.local.broker.store import Store

logger = logging.getLogger(__name__)

RETENTION_S = 7 * 86_400.0
EVERY_S = 600.0
BATCH = 200  # events, some 10 ms
PAUSE_S = 0.1


async def sweep(journal: Journal, store: Store, before: float) -> int:
    """Delete all settled events that arrived before then (seconds since 1970); returns how many."""
    gone = 0
    while deleted := await journal.run(store.forget, before, BATCH):
        gone += deleted
        await asyncio.sleep(PAUSE_S)
    return gone


async def sweep_forever(
    journal: Journal, store: Store, keep_s: float, clock: Callable[[], float]
) -> None:
    """Sweep at once, and from then on, until cancelled."""
    while True:
        try:
            await sweep(journal, store, clock() - keep_s)
        except sqlite3.Error as error:  # a full disk, say: the next sweep may do
            logger.warning("old events could not be deleted: %s", error)
        await asyncio.sleep(EVERY_S)
