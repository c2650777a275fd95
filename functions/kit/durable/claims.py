"""Claims: which entities this process works on, as advisory locks of one session.

A claim needs neither a transaction nor a connection per request. A process that dies loses its
session and with it every claim at once. A session that breaks while the process lives loses them
too, so a claim saves work that would be done twice; that nothing is settled twice is the inbox's
business.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from contextvars import Context as ContextVars
from typing import TYPE_CHECKING, Any

from functions.kit.clients import transaction_guard
from functions.kit.durable.database import explained
from functions.kit.errors import TemporaryError

if TYPE_CHECKING:
    import asyncpg

    from functions.kit.durable.database import Store
    from functions.kit.durable.locks import Lock

BUSY = "the same request is still being worked on"
MIN_PAUSE_S = 0.02
MAX_PAUSE_S = 1.0

_STATEMENT = """SELECT CASE WHEN wanted THEN pg_try_advisory_lock(key)
                            ELSE pg_advisory_unlock(key) END
                FROM json_to_recordset($1) AS change (key bigint, wanted boolean)"""


class Claims:
    """The claims of one process: one holder per key."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._connection: asyncpg.Connection[Any] | None = None
        self._held: dict[int, asyncio.Event] = {}
        self._changes: list[tuple[int, asyncio.Future[bool] | None]] = []
        self._session: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def held(self, lock: Lock, *entity: str, deadline: float) -> AsyncIterator[None]:
        """Hold the lock on an entity inside.

        Waits until `deadline` (monotonic clock) for the holder, in this process or another, then
        raises `TemporaryError`.
        """
        transaction_guard.second_connection()
        key = lock.key(*entity)
        while (holder := self._held.get(key)) is not None:
            try:
                async with asyncio.timeout_at(_loop_time(deadline)):
                    await holder.wait()
            except TimeoutError:
                raise TemporaryError(BUSY) from None
        released = self._held[key] = asyncio.Event()
        try:
            await self._lock(key, deadline)
            try:
                with transaction_guard.lock_held(lock.name) if lock.is_wide else nullcontext():
                    yield
            finally:
                self._change(key, None)
        finally:
            del self._held[key]
            released.set()

    async def close(self) -> None:
        """End the session, and with it every claim."""
        if self._session is not None:
            self._session.cancel()
        if self._connection is not None:
            self._connection.terminate()

    async def _lock(self, key: int, deadline: float) -> None:
        pause_s = MIN_PAUSE_S
        while True:
            locked: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            self._change(key, locked)
            try:
                if await asyncio.shield(locked):
                    return
            except asyncio.CancelledError:
                self._change(key, None)  # without a lock this does nothing
                locked.add_done_callback(asyncio.Future.exception)  # no other awaits it
                raise
            if time.monotonic() + pause_s > deadline:
                raise TemporaryError(BUSY)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(pause_s * 2, MAX_PAUSE_S)

    def _change(self, key: int, locked: asyncio.Future[bool] | None) -> None:
        """Lock (with a future for the answer) or unlock `key`, in the order of the calls."""
        self._changes.append((key, locked))
        if self._session is None or self._session.done():
            self._session = asyncio.create_task(self._run(), context=ContextVars())

    async def _run(self) -> None:
        """Changes that gathered during a round trip share the next one."""
        while self._changes:
            changes, self._changes = self._changes, []
            wanted = [locked for _, locked in changes if locked is not None]
            try:
                if self._connection is None or self._connection.is_closed():
                    if not wanted:
                        continue  # what is to be unlocked went with its session
                    self._connection = await self._store.session()
                with explained():
                    wishes = [{"key": key, "wanted": locked is not None} for key, locked in changes]
                    rows = await self._connection.fetch(_STATEMENT, json.dumps(wishes))
            except TemporaryError as error:
                self._drop()
                for refused in wanted:
                    refused.set_exception(TemporaryError(error.detail, delay_s=error.delay_s))
                continue
            for (_, locked), row in zip(changes, rows, strict=True):
                if locked is not None:
                    locked.set_result(row[0])

    def _drop(self) -> None:
        """A session in doubt may hold locks that we do not know of: end it."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def _loop_time(deadline: float) -> float:
    return asyncio.get_running_loop().time() + deadline - time.monotonic()
