"""The tick of each minute wakes a process, whose relay sends what a dead one has left."""

from __future__ import annotations

from functions.dsm.sprint_service import tables
from functions.dsm.sprint_service.outgoing import FUNCTION, relay
from functions.kit.context import Context
from functions.kit.contract import on_tick

SCHEDULES = ("sprint-outbox",)


async def start(ctx: Context) -> None:
    """Begin with what an earlier process left, be it of the version before."""
    relay(ctx).start()


async def sweep(ctx: Context) -> None:
    """Look for what is unsent."""
    await start(ctx)
    async with ctx.store.connection() as connection:
        await tables.take_over(connection, FUNCTION)
    await relay(ctx).sweep()


consume = on_tick(SCHEDULES, sweep)
