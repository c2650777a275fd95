"""Telling what nobody has told: what a dead process, or an absent broker or service, left behind.

It goes on while a process is awake, from its start on. It may meet the request whose messages it
sends: they leave twice, then, under the same ids.
"""

from __future__ import annotations

import asyncio
import logging

from functions.dsm.sprint_service import outbox, tables
from functions.kit.context import Context, Resources
from functions.kit.errors import FunctionError

logger = logging.getLogger(__name__)

EVERY_S = 10.0
OLD_S = 10.0  # a request at work tells its own


class Leftovers:
    """One process's rounds."""

    def __init__(self, resources: Resources) -> None:
        self._ctx = Context(resources, "sprint_service")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Make rounds in the background until `close`."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await tell(self._ctx, OLD_S)
            await asyncio.sleep(EVERY_S)


async def tell(ctx: Context, old_s: float) -> None:
    """Tell what is `old_s` seconds old; what fails is tried in the next round."""
    try:
        async with ctx.store.connection() as connection:
            projects = await tables.waiting(connection, old_s)
        for project_id in projects:
            await _placed(ctx, project_id)
        await outbox.write_notes(ctx, None, old_s=old_s, within_s=outbox.NOTES_LATER_S)
        async with ctx.store.transaction() as tx:
            moved = await tables.move_events(tx, ctx.function, old_s)
        if moved:
            await ctx.resources.durable.relay.sweep()
    except FunctionError as error:
        logger.warning("left for the next round: %s", error)
    except Exception as error:
        # A round must not end the rounds.
        logger.error("a round failed", exc_info=error)


async def _placed(ctx: Context, project_id: str) -> None:
    try:
        await outbox.place(ctx, project_id)
    except FunctionError as error:
        logger.warning("left for the next round: %s", error)


async def start(ctx: Context) -> None:
    """Go on with what an earlier process left."""
    ctx.part(Leftovers).start()
