"""Sending what is unsent: what a dead process, or an absent broker or service, left behind.

A loop does it while a process is awake, and the tick of each minute wakes one. It may send the
messages of a request that is still at work: they leave twice, then, under the same ids.
"""

from __future__ import annotations

import asyncio
import logging

from functions.dsm.sprint_service import outbox, tables
from functions.events.schedule import ScheduleDue
from functions.kit import cloudevents
from functions.kit.context import Context, Resources
from functions.kit.contract import envelope
from functions.kit.durable import inbox
from functions.kit.errors import FunctionError

logger = logging.getLogger(__name__)

EVERY_S = 10.0
OLD_S = 10.0  # a request at work sends its own
SCHEDULES = ("sprint-outbox",)


class UnsentLoop:
    """The loop of one process."""

    def __init__(self, resources: Resources) -> None:
        self._ctx = Context(resources, "sprint_service")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Sweep in the background until `close`."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await send(self._ctx, OLD_S)
            await asyncio.sleep(EVERY_S)


async def send(ctx: Context, old_s: float) -> None:
    """Send what is `old_s` seconds old; what fails is tried by the next sweep."""
    try:
        async with ctx.store.connection() as connection:
            projects = await tables.waiting(connection, old_s)
        for project_id in projects:
            await _placed(ctx, project_id)
        await outbox.write_notes(ctx, None, old_s=old_s, timeout_s=outbox.NOTES_LATER_S)
        async with ctx.store.transaction() as tx:
            moved = await tables.move_events(tx, ctx.function, old_s)
        if moved:
            await ctx.resources.durable.relay.sweep()
    except FunctionError as error:
        logger.warning("left for the next sweep: %s", error)
    except Exception as error:
        # A sweep must not end the loop.
        logger.error("a sweep failed", exc_info=error)


async def _placed(ctx: Context, project_id: str) -> None:
    try:
        await outbox.place(ctx, project_id)
    except FunctionError as error:
        logger.warning("left for the next sweep: %s", error)


async def start(ctx: Context) -> None:
    """Begin with what an earlier process left."""
    ctx.part(UnsentLoop).start()


async def consume(message: cloudevents.Message, ctx: Context) -> None:
    """Take the tick of each minute: no process may be awake since another died."""
    due = envelope.open_(message, (ScheduleDue,), SCHEDULES)
    about = (due.identity() or message.id, (message.source, message.id))
    # A sweep may outlast the tick's deadline: it waits for services that hang.
    await start(ctx)
    key = inbox.Key(ctx.function, message.type, *about)
    await inbox.recorded(ctx.store, key, message.type, ctx.resources.durable.relay.sweep)
