"""A process that can die at any statement, after any commit, and between any two events it sends.

The store's connection is the seam: everything behind it is PostgreSQL, everything before it is the
code that runs in production.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import asyncpg

from functions.kit.durable import Connection, Store
from functions.kit.settings import DatabaseSettings


class CrashingStore(Store):
    """Counts statements, commits and whatever else is given to it; at number `dies_at` all is gone.

    What was not committed by then is rolled back by the server; a dead store does nothing more.
    """

    def __init__(self, settings: DatabaseSettings, dies_at: int | None = None) -> None:
        super().__init__(settings)
        self.dies_at = dies_at
        self.count = 0
        self.died_at: str | None = None

    @asynccontextmanager
    async def _acquired(self) -> AsyncIterator[Connection]:
        async with super()._acquired() as connection:
            yield cast(Connection, _Watched(connection, self))

    def step(self, what: str, connection: Any = None) -> None:
        """Something is about to happen, or has just been committed: raises where the end is."""
        self.count += 1
        if self.died_at is None and self.count == self.dies_at:
            self.died_at = " ".join(what.split())[:60]
        if self.died_at is not None:
            if connection is not None:
                connection.terminate()
            raise asyncpg.ConnectionDoesNotExistError(f"the process died: {self.died_at}")


class _Watched:
    """A connection whose statements are counted before they run, transactions after."""

    def __init__(self, connection: Any, store: CrashingStore) -> None:
        self._connection = connection
        self._store = store

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._connection, name)
        assert name in ("fetch", "fetchrow", "fetchval", "execute", "executemany"), name

        async def run(statement: str, *arguments: Any, timeout: float | None = None) -> Any:
            self._store.step(f"at {statement}", self._connection)
            return await method(statement, *arguments, timeout=timeout)

        return run

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        async with self._connection.transaction():
            yield
        self._store.step("after a commit", self._connection)
