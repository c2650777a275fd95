"""PostgreSQL: a small pool, transactions, and errors with a message."""

from __future__ import annotations

import json
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from functions.kit.clients import transaction_guard
from functions.kit.errors import PermanentError, TemporaryError, shortened
from functions.kit.settings import DatabaseSettings
from functions.kit.telemetry import trace

if TYPE_CHECKING:
    import asyncpg

    Pool = asyncpg.Pool[asyncpg.Record]

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


_ACQUIRE_S = 10.0  # timeout of the wait for a free connection

# A session whose machine has vanished ends within half a minute, and frees what it has claimed.
_KEEPALIVE = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
}


class Store:
    """One process's way to its database. Connects on first use; asyncpg is imported only then.

    One small pool: transactions are short, as no service is called inside one. A task inside one
    uses it: a second connection could wait for the first for ever.

    `virtual_now` tells a virtual time, by which rows are dated then; None: `now()` of the database.
    """

    def __init__(
        self, settings: DatabaseSettings, virtual_now: Callable[[], datetime] | None = None
    ) -> None:
        self._settings = settings
        self._virtual_now = virtual_now
        self._pool: Pool | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside a transaction: committed at the end, rolled back on any error."""
        with explained(), trace.transaction():
            async with self._acquired() as connection, connection.transaction():
                with transaction_guard.transaction_open():
                    yield connection

    async def session(self) -> asyncpg.Connection[asyncpg.Record]:
        """A connection of its own, outside of the pools: for what lasts as long as a session."""
        import asyncpg

        with explained():
            return await asyncpg.connect(
                self._settings.session_url or self._url(),
                command_timeout=60,
                timeout=10,
                server_settings=_KEEPALIVE,
            )

    @property
    def action_retention_days(self) -> int:
        return self._settings.action_retention_days

    @property
    def now(self) -> datetime | None:
        """The virtual time, None where the clock is none: `coalesce($1, now())` in a statement."""
        return self._virtual_now() if self._virtual_now else None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection where each statement commits by itself: for reads and single writes."""
        with explained():
            async with self._acquired() as connection:
                yield connection

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    def _url(self) -> str:
        if not self._settings.url:
            raise TemporaryError("setting DATABASE_URL is missing: this function needs it")
        return self._settings.url

    @asynccontextmanager
    async def _acquired(self) -> AsyncIterator[Connection]:
        transaction_guard.second_connection()
        pool = await self._connected()
        try:
            connection = await pool.acquire(timeout=_ACQUIRE_S)
        except TimeoutError:
            raise TemporaryError(f"database: no connection within {_ACQUIRE_S:g} s") from None
        try:
            yield connection
        finally:
            await pool.release(connection)

    async def _connected(self) -> Pool:
        if self._pool is None:
            import asyncpg

            # No await between the check and the assignment: two first users share one pool.
            self._pool = asyncpg.create_pool(
                self._url(),
                min_size=0,
                max_size=self._settings.database_pool_size,
                command_timeout=60,
                timeout=10,
                init=_prepared,
                reset=_as_it_is,
            )
        await self._pool
        return self._pool


def without_nul(text: str | None) -> str | None:
    r"""Text as a column can hold it: PostgreSQL's has no NUL, so that becomes `\0`."""
    return None if text is None else text.replace("\x00", "\\0")


async def _prepared(connection: Any) -> None:
    """Read and write JSON as Python has it; trace each statement."""
    for name in ("json", "jsonb"):
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=json.dumps, decoder=json.loads
        )
    trace.watch(connection)


async def _as_it_is(connection: Any) -> None:
    """Nothing to reset: we set nothing for a session, and asyncpg rolls back what is open."""


@contextmanager
def explained() -> Iterator[None]:
    """A database that is away, busy or behind is a `TemporaryError`; a wrong statement is ours.

    So is an `OSError` or `TimeoutError` of the work with the connection.
    """
    import asyncpg

    away = (
        OSError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,  # a connection that is killed between two messages
        asyncpg.PostgresConnectionError,
    )
    busy = (
        asyncpg.InsufficientResourcesError,
        asyncpg.ReadOnlySQLTransactionError,
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
            f"database: {error.message or error}; run python -m functions.kit.durable.migrate",
            delay_s=10,
        ) from error
    except asyncpg.LockNotAvailableError as error:
        raise TemporaryError("the same request is still being worked on") from error
    except refused as error:
        raise TemporaryError(f"database refuses us: {shortened(str(error))}", delay_s=10) from error
    except asyncpg.DataError as error:
        # Text with a zero character is the one thing that JSON can hold and PostgreSQL cannot.
        raise PermanentError(f"database cannot store that: {shortened(str(error))}") from error
    except (*away, *busy) as error:
        if isinstance(error, OSError) and not _of_asyncpg(error):
            raise
        raise TemporaryError(
            f"database: {shortened(str(error)) or type(error).__name__}"
        ) from error


def _of_asyncpg(error: BaseException) -> bool:
    """Was it raised on a way through asyncpg? Its errors of sockets and timeouts are Python's."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(frame.f_globals.get("__name__", "").startswith("asyncpg.") for frame in frames)
