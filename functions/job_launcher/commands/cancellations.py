"""Cancellations of tasks that have no Job yet: an event may overtake an earlier one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from functions.kit.durable import Connection
from functions.kit.durable.locks import TASK
from functions.kit.errors import TemporaryError


async def lock_tasks(tx: Connection, tasks: Sequence[str], timeout_s: float) -> None:
    """Lock these tasks, in one order for all processes; `TemporaryError` at the timeout."""
    try:
        async with asyncio.timeout(timeout_s):
            for task in sorted(set(tasks), key=TASK.key):
                await TASK.hold(tx, task)
    except TimeoutError:
        raise TemporaryError("another transaction holds the lock of the task", delay_s=5) from None


async def insert(tx: Connection, task_id: str, reason: str, at: datetime) -> None:
    """Store the cancellation of a task that has no Job."""
    await tx.execute(
        """INSERT INTO cancellation VALUES ($1, $2, $3)
           ON CONFLICT (task_id) DO UPDATE SET reason = $2, cancelled_at = $3""",
        task_id,
        reason,
        at,
    )


async def reason_of(tx: Connection, task_id: str, since: datetime) -> str | None:
    """Return why a task was cancelled after `since`; None where it was not."""
    found: str | None = await tx.fetchval(
        "SELECT reason FROM cancellation WHERE task_id = $1 AND cancelled_at > $2",
        task_id,
        since,
    )
    return found
