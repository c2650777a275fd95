"""The tick of each minute wakes a process, whose relay sends what a dead one has left."""

from __future__ import annotations

from functions.dsm.sprint_service import tables
from functions.dsm.sprint_service.outgoing import FUNCTION, relay
from functions.events.schedule import ScheduleDue
from functions.kit import cloudevents
from functions.kit.context import Context
from functions.kit.contract import envelope
from functions.kit.durable import inbox

SCHEDULES = ("sprint-outbox",)


async def start(ctx: Context) -> None:
    """Begin with what an earlier process left, be it of the version before."""
    relay(ctx).start()


async def consume(message: cloudevents.Message, ctx: Context) -> None:
    """Look for what is unsent."""
    due = envelope.open_(message, (ScheduleDue,), SCHEDULES)
    about = (due.identity() or message.id, (message.source, message.id))
    await start(ctx)

    async def sweep() -> None:
        async with ctx.store.connection() as connection:
            await tables.take_over(connection, FUNCTION)
        await relay(ctx).sweep()

    key = inbox.Key(ctx.function, message.type, *about)
    await inbox.recorded(ctx.store, key, message.type, sweep)
