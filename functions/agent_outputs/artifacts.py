"""Where Jobs' bundles are kept: in PostgreSQL, and larger ones in a folder, where one is set.

A bundle is stored before the row that names it, under a name that is used once. So a crash between
both leaves one that no row names, which is dropped an hour later, as is one whose row is gone.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from functions.agent_outputs.settings import OutputsSettings
from functions.kit.context import Context
from functions.kit.durable import Store
from functions.kit.errors import TemporaryError

# A request that stores a bundle takes less until its row is there.
UNUSED_FOR = timedelta(hours=1)
_IN_FOLDER = "file-"
_USED = """SELECT artifact FROM agent_output WHERE artifact IS NOT NULL
    UNION ALL SELECT artifact FROM agent_checkpoint WHERE artifact IS NOT NULL"""


class Artifacts(Protocol):
    """A place for bundles."""

    async def store(self, name: str, content: bytes, at: datetime) -> None:
        """Keep it whole, also through a crash, before this returns."""

    async def load(self, name: str) -> bytes | None:
        """Its content; None where there is none of this name."""

    async def drop_unused(self, used: Collection[str], before: datetime) -> int:
        """Drop what was stored before that time under another name; how many."""


class InDatabase:
    """Rows of their own, which no list of outputs reads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def store(self, name: str, content: bytes, at: datetime) -> None:
        async with self._store.connection() as connection:
            await connection.execute(
                "INSERT INTO agent_artifact (name, content, stored_at) VALUES ($1, $2, $3)",
                *(name, content, at),
            )

    async def load(self, name: str) -> bytes | None:
        async with self._store.connection() as connection:
            found: bytes | None = await connection.fetchval(
                "SELECT content FROM agent_artifact WHERE name = $1", name
            )
        return found

    async def drop_unused(self, used: Collection[str], before: datetime) -> int:
        async with self._store.connection() as connection:
            gone = await connection.fetch(
                """DELETE FROM agent_artifact WHERE stored_at < $1 AND name <> ALL ($2)
                   RETURNING name""",
                *(before, list(used)),
            )
        return len(gone)


class InFolder:
    """Files of a mounted volume, each written whole under another name first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def store(self, name: str, content: bytes, at: datetime) -> None:
        await asyncio.to_thread(self._write, name, content, at.timestamp())

    async def load(self, name: str) -> bytes | None:
        return await asyncio.to_thread(self._read, name)

    async def drop_unused(self, used: Collection[str], before: datetime) -> int:
        return await asyncio.to_thread(self._drop, set(used), before.timestamp())

    def _write(self, name: str, content: bytes, at: float) -> None:
        unfinished = self._folder / f"{name}.unfinished"
        try:
            with unfinished.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.utime(unfinished, (at, at))
            unfinished.rename(self._folder / name)
        except OSError as error:
            raise TemporaryError(f"ARTIFACTS_FOLDER: {error.strerror}", delay_s=30) from None

    def _read(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TemporaryError(f"ARTIFACTS_FOLDER: {error.strerror}", delay_s=30) from None

    def _drop(self, used: set[str], before: float) -> int:
        unused = [
            file
            for file in self._folder.glob(f"{_IN_FOLDER}*")
            if file.name not in used and file.stat().st_mtime < before
        ]
        for file in unused:
            file.unlink(missing_ok=True)
        return len(unused)


def places(ctx: Context) -> tuple[Artifacts, Artifacts]:
    """For small bundles and for large ones, which may be the same."""
    settings, database = ctx.settings(OutputsSettings), InDatabase(ctx.store)
    folder = settings.artifacts_folder
    return database, InFolder(Path(folder)) if folder else database


async def store(ctx: Context, content: bytes | None) -> str | None:
    """Keep a bundle; return the name to read it by, None without one."""
    if content is None:
        return None
    settings, (small, large) = ctx.settings(OutputsSettings), places(ctx)
    in_folder = bool(settings.artifacts_folder) and len(content) > settings.artifacts_database_bytes
    name = f"{_IN_FOLDER if in_folder else ''}{secrets.token_hex(16)}"
    await (large if in_folder else small).store(name, content, ctx.now())
    return name


async def load(ctx: Context, name: str) -> bytes:
    """A bundle's content; `TemporaryError` where it is not there, as while a volume is away."""
    small, large = places(ctx)
    found = await (large if name.startswith(_IN_FOLDER) else small).load(name)
    if found is None:
        raise TemporaryError(f"the bundle {name} is not where it was stored", delay_s=60)
    return found


async def drop_unused(ctx: Context) -> int:
    """Forget the bundles of what was delivered long ago, then drop all that no row names."""
    days, now = ctx.settings(OutputsSettings).outputs_bundle_days, ctx.now()
    async with ctx.store.connection() as connection:
        await connection.execute(
            """UPDATE agent_output SET artifact = NULL, bundle = NULL
               WHERE state = 'delivered' AND settled_at < $1
                 AND (artifact IS NOT NULL OR bundle IS NOT NULL)""",
            now - timedelta(days=days),
        )
        used = {row["artifact"] for row in await connection.fetch(_USED)}
    kinds = set(places(ctx))
    return sum([await one.drop_unused(used, now - UNUSED_FOR) for one in kinds])
