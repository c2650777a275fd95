"""Storing deliveries: those that arrive together share one transaction, alone one waits for none.

A commit costs a flush of the disk, whether it holds one row or a hundred.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from functions.kit.durable.database import Store
from functions.kit.errors import FunctionError, TemporaryError
from functions.webhook_receiver import tables
from functions.webhook_receiver.tables import Delivery

MOST_ROWS = 256
MOST_BYTES = 8 * 1024 * 1024

_Waiting = tuple[Delivery, "asyncio.Future[bool]"]


class Ledger:
    """The way into the table: one writer, which takes along whatever has gathered meanwhile."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[_Waiting] = []
        self._writer: asyncio.Task[None] | None = None
        self._pending = 0

    @property
    def crowded(self) -> bool:
        """Do several deliveries wait to be acknowledged?"""
        return self._pending > 3

    async def accept(self, delivery: Delivery) -> bool:
        """Return once it is durably stored: True if it is new, False if it is a repeat."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((delivery, future))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        self._pending += 1
        try:
            return await future
        finally:
            self._pending -= 1

    async def _write(self) -> None:
        while self._waiting:
            batch = self._gathered()
            try:
                # One statement is a transaction by itself, and two messages fewer.
                async with self._store.connection() as connection:
                    new = await tables.insert(connection, [delivery for delivery, _ in batch])
            except Exception as error:
                _fail([future for _, future in batch], error)
                continue
            for delivery, future in batch:
                key = (delivery.source, delivery.id)
                if not future.done():
                    future.set_result(key in new)
                new.discard(key)

    def _gathered(self) -> list[_Waiting]:
        size = count = 0
        for delivery, _ in self._waiting[:MOST_ROWS]:
            size += len(delivery.data)
            if count and size > MOST_BYTES:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch


def _fail(futures: Sequence[asyncio.Future[bool]], error: Exception) -> None:
    for future in futures:
        if not future.done():
            # One error each: they are raised in many tasks, and a traceback belongs to one.
            if isinstance(error, FunctionError):
                future.set_exception(TemporaryError(error.detail))
            else:
                future.set_exception(error)
