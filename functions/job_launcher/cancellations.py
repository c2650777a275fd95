"""Tasks that were cancelled before they had a Job: events overtake one another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from functions.kit.durable.database import Connection
from functions.kit.durable.locks import TASK
from functions.kit.errors import TemporaryError


async def lock_tasks(tx: Connection, tasks: Sequence[str], timeout_s: float) -> None:
    """Wait for whoever else requests, or cancels, one of these tasks; in one order for all."""
    try:
        async with asyncio.timeout(timeout_s):
            for task in sorted(set(tasks), key=TASK.key):
                await TASK.hold(tx, task)
    except TimeoutError:
        raise TemporaryError("others are still at work on the same task", delay_s=5) from None


async def keep(tx: Connection, task_id: str, reason: str, at: datetime) -> None:
    """Remember that a task was cancelled that has no Job."""
    await tx.execute(
        """INSERT INTO cancellation VALUES ($1, $2, $3)
           ON CONFLICT (task_id) DO UPDATE SET reason = $2, cancelled_at = $3""",
        *(task_id, reason, at),
    )


async def reason_of(tx: Connection, task_id: str, since: datetime) -> str | None:
    """Why a task was cancelled after `since`, if it was."""
    found: str | None = await tx.fetchval(
        "SELECT reason FROM cancellation WHERE task_id = $1 AND cancelled_at > $2",
        *(task_id, since),
    )
    return found


async def forget(tx: Connection, before: datetime) -> None:
    await tx.execute("DELETE FROM cancellation WHERE cancelled_at < $1", before)
