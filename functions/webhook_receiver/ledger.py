"""Storing deliveries, and the events that they become: what arrives together shares a transaction.

The events leave by the outbox after the commit.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from functions.kit import cloudevents
from functions.kit.durable import GroupCommit, Written, outbox
from functions.kit.durable.locks import ISSUE
from functions.webhook_receiver import tables
from functions.webhook_receiver.tables import FUNCTION, Delivery

if TYPE_CHECKING:
    from functions.kit.context import Resources
    from functions.kit.durable import Connection, Entry

# So many deliveries are sent again in one transaction.
BATCH = 100
# Once more than so many came together, few are sent at once for a while: a source waits ten seconds
# at most, and does not come again by itself.
CROWD = 16
LOADED_S = 0.2


class Ledger:
    """The way into the table and out of it."""

    def __init__(self, resources: Resources) -> None:
        self._store = resources.store
        self._durable = resources.durable
        self._overrides = resources.process.overrides
        self._commits: GroupCommit[Delivery, bool] = GroupCommit(
            self._store.transaction, self._insert, size=lambda delivery: len(delivery.data)
        )

        self._loaded_until = float("-inf")
        self._durable.relay.yield_to(lambda: time.monotonic() < self._loaded_until)

    async def accept(self, delivery: Delivery) -> bool:
        """Return once it is durably stored: True if it is new, False if it is a repeat."""
        return await self._commits.submit(delivery)

    async def accept_if(
        self, delivery: Delivery, state: str, wanted: Callable[[Connection], Awaitable[bool]]
    ) -> bool:
        """The same where `wanted` says so, with no other storing anything of `state`."""
        async with self._store.transaction() as tx:
            await ISSUE.hold(tx, state)
            if not await wanted(tx):
                return False
            kept = await self._kept(tx, [delivery])
        self._durable.deliver([entry for entry in kept if entry])
        return bool(kept[0])

    async def _insert(self, tx: Connection, deliveries: Sequence[Delivery]) -> Written[bool]:
        if len(deliveries) > CROWD:
            self._loaded_until = time.monotonic() + LOADED_S
        kept = await self._kept(tx, deliveries)
        news = [entry for entry in kept if entry]
        return Written([entry is not None for entry in kept], partial(self._durable.deliver, news))

    async def _kept(self, tx: Connection, deliveries: Sequence[Delivery]) -> list[Entry | None]:
        """Store what is new; returns the event of each, None of a repeat."""
        entries = await self._put(tx, deliveries)
        new = await tables.insert(tx, deliveries, [entry.number for entry in entries])
        if len(new) < len(entries):
            repeated = [entry.number for entry in entries if entry.number not in new]
            await outbox.withdraw(tx, repeated)
        return [entry if entry.number in new else None for entry in entries]

    async def redeliver(self, id: str, source: str | None) -> list[dict[str, Any]]:
        """Send the delivery of this id again, unless it waits to be sent; returns its row.

        Where several sources share the id, returns all of them and sends none.
        """
        async with self._store.transaction() as tx:
            found = await tables.of_id(tx, id, source)
            entries = await self._again(tx, [row["number"] for row in found[:1]])
            if len(found) == 1:
                found = await tables.of_id(tx, id, source)
        self._durable.deliver(entries)
        return found

    async def redeliver_all(self, state: str, source: str | None, since: datetime | None) -> int:
        """Send all of a state again, of one source and from a moment on; returns how many."""
        async with self._store.connection() as connection:
            numbers = await tables.numbers(connection, state, source, since)
        for start in range(0, len(numbers), BATCH):
            async with self._store.transaction() as tx:
                entries = await self._again(tx, numbers[start : start + BATCH])
            self._durable.deliver(entries)
        return len(numbers)

    async def take_over(self) -> None:
        """Send what a receiver of the version before has left unsent."""
        taken = BATCH
        while taken == BATCH:
            async with self._store.transaction() as tx:
                numbers = await tables.left_unsent(tx, BATCH)
                entries = await self._again(tx, numbers)
            self._durable.deliver(entries)
            taken = len(numbers)

    async def _again(self, tx: Connection, numbers: Sequence[int]) -> list[Entry]:
        """Put deliveries that are not in the outbox there once more."""
        deliveries = await tables.sendable(tx, numbers)
        entries = await self._put(tx, list(deliveries.values()))
        await tables.link(tx, list(deliveries), [entry.number for entry in entries])
        return entries

    async def _put(self, tx: Connection, deliveries: Sequence[Delivery]) -> list[Entry]:
        return await self._durable.put(tx, FUNCTION, [self._message(d) for d in deliveries])

    def _message(self, delivery: Delivery) -> cloudevents.Message:
        message = cloudevents.unchecked(
            {"specversion": "1.0", **delivery.attributes}, delivery.data
        )
        if not self._overrides:
            return message
        return replace(message, extensions={**message.extensions, **self._overrides})
