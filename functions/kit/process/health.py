"""Can this process work? Its own parts only: a service that is away is no reason to restart us."""

from __future__ import annotations

from pathlib import Path

from functions.kit.context import Context
from functions.kit.durable.migrate import KIT, Owner, owner_of
from functions.kit.errors import FunctionError


async def problems(ctx: Context, folder: Path, *, inbox: bool) -> list[str]:
    """What keeps the function in `folder` from working; empty when it can work."""
    owner = owner_of(folder)
    needed = [KIT] if inbox or owner else []
    behind = [await _behind(ctx, o) for o in (*needed, *([owner] if owner else []))]
    return [problem for problem in behind if problem]


async def _behind(ctx: Context, owner: Owner) -> str | None:
    try:
        async with ctx.store.connection() as connection:
            at = await connection.fetchval(f"SELECT max(version_num) FROM {owner.version_table}")
    except FunctionError as error:
        return error.detail
    if at is None or at < owner.head:
        return f"schema of {owner.name} is at {at}, needs {owner.head}: run the migrations"
    return None
