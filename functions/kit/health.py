"""Can this process work? Its own parts only: a service that is away is no reason to restart us."""

from __future__ import annotations

import logging
from pathlib import Path

from functions.kit import inbox
from functions.kit.context import Context
from functions.kit.errors import FunctionError
from functions.kit.migrate import KIT, Owner, owner_of
from functions.kit.settings import DatabaseSettings

logger = logging.getLogger(__name__)


async def problems(ctx: Context, folder: Path) -> list[str]:
    """What keeps the function in `folder` from working; empty when it can work."""
    if not ctx.settings(DatabaseSettings).database_url:
        return []
    found = []
    for owner in (KIT, owner_of(folder)):
        if owner is not None and (problem := await _behind(ctx, owner)):
            found.append(problem)
    return found


async def forget_old(ctx: Context) -> None:
    """Tidy up at every start, so that nothing grows for ever; it may fail, the next start comes."""
    if not ctx.settings(DatabaseSettings).database_url:
        return
    try:
        await inbox.forget(ctx.store, ctx.function)
    except FunctionError as error:
        logger.warning("could not forget old records: %s", error)


async def _behind(ctx: Context, owner: Owner) -> str | None:
    try:
        async with ctx.store.connection() as connection:
            at = await connection.fetchval(f"SELECT max(version_num) FROM {owner.version_table}")
    except FunctionError as error:
        return error.detail
    if at is None or at < owner.head:
        return f"schema of {owner.name} is at {at}, needs {owner.head}: run the migrations"
    return None
