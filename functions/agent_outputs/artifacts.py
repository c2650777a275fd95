"""Where Jobs' bundles are kept: in PostgreSQL, and larger ones in a folder, where one is set.

A bundle is stored before the row that names it, under a name that is used once. So a crash between
both leaves one that no row names, which is dropped an hour later, as is one whose row is gone.
What a row has named and another bundle replaces is dropped at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from functions.agent_outputs.settings import OutputsSettings
from functions.kit.context import Context
from functions.kit.durable import Store
from functions.kit.errors import FunctionError, TemporaryError

logger = logging.getLogger(__name__)

# A request that stores a bundle takes less until its row is there.
UNUSED_FOR = timedelta(hours=1)
_IN_FOLDER = "file-"
FORGET = """UPDATE agent_output SET artifact = NULL, bundle = NULL, has_work = false
    WHERE state = 'delivered' AND settled_at < $1
    AND (artifact IS NOT NULL OR bundle IS NOT NULL)"""
DROP_UNUSED = """DELETE FROM agent_artifact AS one WHERE stored_at < $1
    AND NOT EXISTS (SELECT FROM agent_output WHERE artifact = one.name)
    AND NOT EXISTS (SELECT FROM agent_checkpoint WHERE artifact = one.name)
    RETURNING name"""
USED = """SELECT artifact FROM agent_output WHERE artifact = ANY ($1)
    UNION ALL SELECT artifact FROM agent_checkpoint WHERE artifact = ANY ($1)"""


class Artifacts(Protocol):
    """A place for bundles."""

    async def store(self, name: str, content: bytes, at: datetime) -> None:
        """Keep it whole, also through a crash, before this returns."""

    async def load(self, name: str) -> bytes | None:
        """Its content; None where there is none of this name, `TemporaryError` while the place is
        away."""

    async def drop(self, name: str) -> None:
        """Drop it, where it is there."""

    async def drop_unused(self, before: datetime) -> int:
        """Drop what was stored before that time and no row names; how many."""


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

    async def drop(self, name: str) -> None:
        async with self._store.connection() as connection:
            await connection.execute("DELETE FROM agent_artifact WHERE name = $1", name)

    async def drop_unused(self, before: datetime) -> int:
        async with self._store.connection() as connection:
            gone = await connection.fetch(DROP_UNUSED, before)
        return len(gone)


class InFolder:
    """Files of a mounted volume, each written whole under another name first."""

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder, self._store = folder, store

    async def store(self, name: str, content: bytes, at: datetime) -> None:
        await asyncio.to_thread(self._write, name, content, at.timestamp())

    async def load(self, name: str) -> bytes | None:
        return await asyncio.to_thread(self._read, name)

    async def drop(self, name: str) -> None:
        await asyncio.to_thread(self._drop, name)

    async def drop_unused(self, before: datetime) -> int:
        names = await asyncio.to_thread(self._stored, before.timestamp())
        async with self._store.connection() as connection:
            used = {row["artifact"] for row in await connection.fetch(USED, names)}
        unused = [name for name in names if name not in used]
        for name in unused:
            await self.drop(name)
        return len(unused)

    def _write(self, name: str, content: bytes, at: float) -> None:
        unfinished = self._folder / f"{name}.unfinished"
        try:
            with unfinished.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.utime(unfinished, (at, at))
            unfinished.rename(self._folder / name)
            folder = os.open(self._folder, os.O_RDONLY)  # its name is to survive a crash, too
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise TemporaryError(f"ARTIFACTS_FOLDER: {error.strerror}", delay_s=30) from None

    def _read(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except OSError as error:
            if isinstance(error, FileNotFoundError) and self._folder.is_dir():
                return None
            raise TemporaryError(f"ARTIFACTS_FOLDER: {error.strerror}", delay_s=30) from None

    def _drop(self, name: str) -> None:
        try:
            (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise TemporaryError(f"ARTIFACTS_FOLDER: {error.strerror}", delay_s=30) from None

    def _stored(self, before: float) -> list[str]:
        found = []
        for file in self._folder.glob(f"{_IN_FOLDER}*"):
            with suppress(FileNotFoundError):  # another process drops it, too
                if file.stat().st_mtime < before:
                    found.append(file.name)
        return found


def places(ctx: Context) -> tuple[Artifacts, Artifacts]:
    """For small bundles and for large ones, which may be the same."""
    settings, database = ctx.settings(OutputsSettings), InDatabase(ctx.store)
    folder = settings.artifacts_folder
    return database, InFolder(Path(folder), ctx.store) if folder else database


def _place_of(ctx: Context, name: str) -> Artifacts:
    small, large = places(ctx)
    return large if name.startswith(_IN_FOLDER) else small


async def store(ctx: Context, content: bytes | None) -> str | None:
    """Keep a bundle; return the name to read it by, None without one."""
    if content is None:
        return None
    settings = ctx.settings(OutputsSettings)
    in_folder = bool(settings.artifacts_folder) and len(content) > settings.artifacts_database_bytes
    name = f"{_IN_FOLDER if in_folder else ''}{secrets.token_hex(16)}"
    await _place_of(ctx, name).store(name, content, ctx.now())
    return name


async def load(ctx: Context, name: str) -> bytes | None:
    """A bundle's content; None where it is gone for good, `TemporaryError` while a volume is
    away."""
    found = await _place_of(ctx, name).load(name)
    if found is None:
        logger.warning("the bundle %s is not where it was stored", name)
    return found


async def drop(ctx: Context, name: str | None) -> None:
    """Drop one that no row names any more; what fails is left to `drop_unused`."""
    if name is None:
        return
    try:
        await _place_of(ctx, name).drop(name)
    except FunctionError as error:
        logger.info("the bundle %s is dropped later: %s", name, error)


async def drop_unused(ctx: Context) -> int:
    """Forget the bundles of what was delivered long ago, then drop all that no row names."""
    days, now = ctx.settings(OutputsSettings).outputs_bundle_days, ctx.now()
    async with ctx.store.connection() as connection:
        await connection.execute(FORGET, now - timedelta(days=days))
    kinds = set(places(ctx))
    return sum([await one.drop_unused(now - UNUSED_FOR) for one in kinds])
