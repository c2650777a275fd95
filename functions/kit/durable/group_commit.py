"""Group commit: what arrives while a batch is being written makes up the next one.

A commit costs a flush of the disk, whether it holds one item or hundreds. An item that comes alone
is written at once. What one item spoils is written again without it, so it fails alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from functions.kit.errors import PermanentError, TemporaryError, shortened

if TYPE_CHECKING:
    from functions.kit.durable.database import Connection

logger = logging.getLogger(__name__)

MAX_ITEMS = 256
MAX_BYTES = 8 * 1024 * 1024
# So many items are worth a transaction of their own: another batch decides while one commits.
MIN_SHARE = 16
# Fewer wait for the transaction that is on its way, and share the next one.
MIN_QUEUE = 4
# Classes of PostgreSQL's errors that are about a value: it is refused at any time.
_PERMANENT = ("22", "23", "54")

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Written(Generic[Result]):
    """What became of a batch: a result or an error for each item, in their order.

    `committed` is called after the commit.
    """

    results: Sequence[Result | Exception]
    committed: Callable[[], None] | None = None


class GroupCommit(Generic[Item, Result]):
    """Writes items to one database, those that gathered together in one transaction.

    `connect` is `Store.transaction`; or `Store.connection` where `write` is a single statement,
    which is a transaction by itself. `concurrency`: batches at a time. `size`: of an item, bytes.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractAsyncContextManager[Connection]],
        write: Callable[[Connection, Sequence[Item]], Awaitable[Written[Result]]],
        *,
        concurrency: int = 1,
        size: Callable[[Item], int] = lambda item: 0,
    ) -> None:
        self._connect = connect
        self._write = write
        self._concurrency = concurrency
        self._size = size
        self._queue: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._working: set[asyncio.Task[None]] = set()
        self._in_hand = 0

    @property
    def pending(self) -> int:
        """How many items are not answered yet."""
        return len(self._queue) + self._in_hand

    async def submit(self, item: Item) -> Result:
        """The item's result once it is durable; raises what it failed with."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queue.append((item, future))
        self._wake()
        return await future

    async def close(self) -> None:
        """Write what has been submitted."""
        while self._working:
            await asyncio.wait(self._working)

    def _wake(self, done: asyncio.Task[None] | None = None) -> None:
        """See that a worker runs while there is something to do, also when one stops."""
        if done is not None:
            self._working.discard(done)
        needed = MIN_QUEUE if self._working else 1
        if len(self._queue) >= needed and len(self._working) < self._concurrency:
            task = asyncio.create_task(self._work())
            self._working.add(task)
            task.add_done_callback(self._wake)

    async def _work(self) -> None:
        share = max(MIN_SHARE, -(-len(self._queue) // (self._concurrency + 1 - len(self._working))))
        batch = self._next_batch(share)
        self._in_hand += len(batch)
        try:
            await self._commit(batch)
        finally:
            self._in_hand -= len(batch)

    def _next_batch(self, share: int) -> list[tuple[Item, asyncio.Future[Result]]]:
        """What one batch takes now: its share, so that the others have something to do."""
        batch: list[tuple[Item, asyncio.Future[Result]]] = []
        size = 0
        while self._queue and len(batch) < min(share, MAX_ITEMS):
            size += self._size(self._queue[0][0])
            if batch and size > MAX_BYTES:
                break
            batch.append(self._queue.popleft())
        return batch

    async def _commit(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        """Write a batch and answer each of its items."""
        connected = False
        try:
            async with self._connect() as connection:
                connected = True
                written = await self._write(connection, [item for item, _ in batch])
        except TemporaryError as error:  # the database is the trouble, and no item
            if not connected:
                batch = [*batch, *self._queue]
                self._queue.clear()
            for _, future in batch:
                # An error for each: they are raised in many tasks, and a traceback is of one.
                _fail(future, TemporaryError(error.detail, delay_s=error.delay_s))
            return
        except Exception as error:
            await self._divide(batch, error)
            return
        except BaseException:
            for _, future in batch:
                future.cancel()
            raise
        if written.committed is not None:
            written.committed()
        for (_, future), result in zip(batch, written.results, strict=True):
            if isinstance(result, Exception):
                _fail(future, result)
            elif not future.done():
                future.set_result(result)

    async def _divide(
        self, batch: list[tuple[Item, asyncio.Future[Result]]], error: Exception
    ) -> None:
        """Find the item that spoils a batch."""
        if len(batch) == 1:
            item, future = batch[0]
            logger.error("cannot write %.1000r", item, exc_info=error)
            _fail(future, _refusal(error))
            return
        half = len(batch) // 2
        await self._commit(batch[:half])
        await self._commit(batch[half:])


def _fail(future: asyncio.Future[Result], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _refusal(error: Exception) -> Exception:
    """The answer to an item that failed all alone."""
    import asyncpg

    if isinstance(error, asyncpg.PostgresError):
        detail = f"database: {shortened(str(error))}"
        permanent = (error.sqlstate or "")[:2] in _PERMANENT
        return PermanentError(detail) if permanent else TemporaryError(detail, delay_s=10)
    return error
