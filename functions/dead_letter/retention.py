"""How long dead letters are kept, and how much of each."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import timedelta

from pydantic import Field

from functions.dead_letter import audit, tables
from functions.kit.context import Context, Resources
from functions.kit.durable import Rule, rule
from functions.kit.errors import FunctionError
from functions.kit.settings import Settings

logger = logging.getLogger(__name__)

# So many are deleted in one transaction: none takes long.
_BATCH = 500
# A process looks for what is old no more often than this, seconds.
_EVERY_S = 3600.0


class DeadLetterSettings(Settings):
    """What dead-letter keeps, and for how long."""

    dead_letter_retention_days: int = Field(
        90,
        ge=1,
        description="how long a dead letter is kept after it last failed, whatever its state, days",
    )
    dead_letter_data_bytes: int = Field(
        26 * 1024 * 1024,
        ge=0,
        description="how much of an event's data is kept, bytes; a dead letter whose data was cut "
        "off can be edited and sent again, but not sent as it was",
    )
    dead_letter_audit_days: int = Field(
        400, ge=1, description="how long it is on record who dismissed or deleted what, days"
    )


def retention(ctx: Context) -> Sequence[Rule]:
    """The audit; dead letters are swept, for the end of each is put on record."""
    return (rule("audit", "at", ctx.settings(DeadLetterSettings).dead_letter_audit_days),)


class Sweeps:
    """When this process looks for what is old again, and the look that goes on."""

    def __init__(self, resources: Resources) -> None:
        self.next_at = float("-inf")
        self.going_on: asyncio.Task[None] | None = None

    async def close(self) -> None:
        if self.going_on is not None:
            await asyncio.gather(self.going_on, return_exceptions=True)


def sweep_if_due(ctx: Context) -> None:
    """Delete what is old, behind the request that is being answered, which does not wait for it."""
    sweeps = ctx.part(Sweeps)
    if time.monotonic() < sweeps.next_at:
        return
    sweeps.next_at = time.monotonic() + _EVERY_S
    sweeps.going_on = asyncio.create_task(_swept(ctx))


async def _swept(ctx: Context) -> None:
    try:
        await sweep(ctx)
    except FunctionError as error:
        logger.warning("could not delete old dead letters: %s", error)


async def sweep(ctx: Context) -> None:
    """Delete the dead letters that are older than the settings allow, in batches."""
    days = ctx.settings(DeadLetterSettings).dead_letter_retention_days
    before = ctx.now() - timedelta(days=days)
    async with ctx.store.connection() as connection:
        await tables.settle(connection)
    reason = f"kept for {days} days"
    gone = _BATCH
    while gone == _BATCH:
        async with ctx.store.transaction() as tx:
            gone = await audit.expire(tx, before, reason, ctx.now(), _BATCH)
