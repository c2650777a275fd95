"""PostgreSQL: a small pool, transactions, and what went wrong in words."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from functions.kit import trace
from functions.kit.errors import PermanentError, TemporaryError, shortened
from functions.kit.settings import DatabaseSettings

if TYPE_CHECKING:
    import asyncpg

    Pool = asyncpg.Pool[asyncpg.Record]

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


class Store:
    """One process's way to its database. Connects on first use; asyncpg is imported only then."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._pool: Pool | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside a transaction: committed at the end, rolled back on any error."""
        with _in_words():
            pool = await self._connected()
            with trace.transaction():
                async with pool.acquire() as connection, connection.transaction():
                    yield connection

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection where each statement commits by itself: for reads and single writes."""
        with _in_words():
            pool = await self._connected()
            async with pool.acquire() as connection:
                yield connection

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    async def _connected(self) -> Pool:
        if self._pool is None:
            import asyncpg

            if not self._settings.url:
                raise TemporaryError("setting DATABASE_URL is missing: this function needs it")
            # No await between the check and the assignment: two first users share one pool.
            self._pool = asyncpg.create_pool(
                self._settings.url,
                min_size=0,
                max_size=self._settings.database_pool_size,
                command_timeout=60,
                timeout=10,
                init=_prepared,
                reset=_as_it_is,
            )
        await self._pool
        return self._pool


async def _prepared(connection: Any) -> None:
    """Read and write JSON as Python has it; tell traces of each statement."""
    for name in ("json", "jsonb"):
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=json.dumps, decoder=json.loads
        )
    trace.watch(connection)


async def _as_it_is(connection: Any) -> None:
    """Nothing to reset: we set nothing for a session, and asyncpg rolls back what is open."""


@contextmanager
def _in_words() -> Iterator[None]:
    """A database that is away, busy or behind is a `TemporaryError`; a wrong statement is ours."""
    import asyncpg

    away = (OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError)
    busy = (
        asyncpg.TooManyConnectionsError,
        asyncpg.CannotConnectNowError,
        asyncpg.AdminShutdownError,
        asyncpg.CrashShutdownError,
        asyncpg.LockNotAvailableError,
        asyncpg.QueryCanceledError,
        asyncpg.SerializationError,
        asyncpg.DeadlockDetectedError,
        TimeoutError,
    )
    refused = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
    try:
        yield
    except asyncpg.UndefinedTableError as error:
        raise TemporaryError(
            f"database: {error.message or error}; run python -m functions.kit.migrate", delay_s=10
        ) from error
    except asyncpg.LockNotAvailableError as error:
        raise TemporaryError("the same request is still being worked on") from error
    except refused as error:
        raise TemporaryError(f"database refuses us: {shortened(str(error))}", delay_s=10) from error
    except asyncpg.DataError as error:
        # Text with a zero character is the one thing that JSON can say and PostgreSQL cannot keep.
        raise PermanentError(f"database cannot store that: {shortened(str(error))}") from error
    except (*away, *busy) as error:
        raise TemporaryError(
            f"database: {shortened(str(error)) or type(error).__name__}"
        ) from error
