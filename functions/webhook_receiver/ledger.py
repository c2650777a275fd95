"""Storing deliveries: those that arrive together share one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from functions.kit.durable.group_commit import GroupCommit, Written
from functions.webhook_receiver import tables
from functions.webhook_receiver.tables import Delivery

if TYPE_CHECKING:
    from functions.kit.durable.database import Connection, Store


class Ledger:
    """The way into the table."""

    def __init__(self, store: Store) -> None:
        # One statement is a transaction by itself, and two messages fewer.
        self._commits: GroupCommit[Delivery, bool] = GroupCommit(
            store.connection, _insert, size=lambda delivery: len(delivery.data)
        )

    @property
    def crowded(self) -> bool:
        """Do several deliveries wait to be acknowledged?"""
        return self._commits.pending > 3

    async def accept(self, delivery: Delivery) -> bool:
        """Return once it is durably stored: True if it is new, False if it is a repeat."""
        return await self._commits.submit(delivery)


async def _insert(connection: Connection, deliveries: Sequence[Delivery]) -> Written[bool]:
    new = await tables.insert(connection, deliveries)
    results = []
    for delivery in deliveries:
        key = (delivery.source, delivery.id)
        results.append(key in new)
        new.discard(key)
    return Written(results)
