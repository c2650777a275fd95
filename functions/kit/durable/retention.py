"""Retention: old answers, steps and runs are deleted in batches while the process serves.

A process that is always awake never starts anew, so this is no business of its start alone. Each
batch is a short statement of its own: it holds no lock for long, and where it ends early the next
round goes on.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from functions.kit.errors import FunctionError

if TYPE_CHECKING:
    from functions.kit.durable.database import Store

logger = logging.getLogger(__name__)

DAYS = 30  # no broker and no service repeats itself for so long
BATCH = 1000
EVERY_S = 600.0
# Between two batches: who serves meanwhile comes first.
PAUSE_S = 0.05

# Table, its age, and what else must hold. What a worker of sagas has done stays until it was undone
# so long ago: an undo may be asked for at any time.
_TABLES = (
    ("inbox", "received_at", ""),
    (
        "journal",
        "done_at",
        """AND NOT (step = 'DO' AND NOT EXISTS (
            SELECT FROM journal AS undone WHERE undone.function = journal.function
            AND undone.key = journal.key AND undone.step = 'UNDO'))""",
    ),
    ("run", "ended_at", ""),
)


async def keep_small(store: Store, function: str) -> None:
    """Delete what is old, now and every ten minutes, for as long as the process lives."""
    while True:
        try:
            await forget(store, function)
        except FunctionError as error:
            logger.warning("could not delete old records: %s", error)
        await asyncio.sleep(EVERY_S)


async def forget(store: Store, function: str, days: int = DAYS) -> None:
    """Delete a function's answers, steps and runs that are older than `days`."""
    for table, age, but in _TABLES:
        gone = BATCH
        while gone == BATCH:
            async with store.connection() as connection:
                status: str = await connection.execute(
                    f"""DELETE FROM {table} WHERE ctid = ANY (ARRAY(
                            SELECT ctid FROM {table} WHERE function = $1
                            AND {age} < now() - make_interval(days => $2) {but}
                            ORDER BY {age} LIMIT $3))""",
                    *(function, days, BATCH),
                )
            gone = int(status.rpartition(" ")[2])
            await asyncio.sleep(PAUSE_S if gone else 0)
