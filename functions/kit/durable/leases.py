"""Leases: the rows of a table that is a queue, each taken by one process at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncpg import Record

    from functions.kit.durable.database import Connection, Store

_PROLONGED = "leased_until = clock_timestamp() + make_interval(secs => $1)"


@dataclass(frozen=True)
class Leases:
    """The rows of `table` that have work to do, where its condition `open` holds.

    The table has the columns `due_at`, `leased_until` and `attempts`. `key` names one row, `order`
    sorts those that are due. `on_take` and `on_keep` set further columns; in the latter $1 is the
    seconds.
    """

    table: str
    key: tuple[str, ...]
    open: str
    order: str = "due_at"
    on_take: str = ""
    on_keep: str = ""

    async def take(
        self, tx: Connection, now: datetime, seconds: float, columns: str
    ) -> Record | None:
        """Take the first row that is due, for this process and so long; None where there is none.

        The attempt counts at once, so that one counts with which the process dies.
        """
        key = ", ".join(self.key)
        return await tx.fetchrow(
            f"""UPDATE {self.table} SET attempts = attempts + 1, {_PROLONGED}
                    {self.on_take and f", {self.on_take}"}
                WHERE ({key}) = (
                    SELECT {key} FROM {self.table} WHERE {self.open} AND due_at <= $2
                    AND (leased_until IS NULL OR leased_until <= clock_timestamp())
                    ORDER BY {self.order} LIMIT 1 FOR UPDATE SKIP LOCKED)
                RETURNING {columns}""",
            *(seconds, now),
        )

    async def keep(self, store: Store, key: tuple[object, ...], seconds: float) -> None:
        """Prolong a row's lease; with 0 seconds it is due at once, for any process."""
        same = " AND ".join(f"{name} = ${n}" for n, name in enumerate(self.key, start=2))
        async with store.connection() as connection:
            await connection.execute(
                f"""UPDATE {self.table} SET {_PROLONGED}
                    {self.on_keep and f", {self.on_keep}"}
                    WHERE {self.open} AND {same}""",
                *(seconds, *key),
            )

    async def next_due_s(self, connection: Connection, now: datetime) -> float | None:
        """In how many seconds a row is due that no process works on, if there is one."""
        found: float | None = await connection.fetchval(
            f"""SELECT min(extract(epoch FROM greatest(
                    due_at - $1, leased_until - clock_timestamp())))::float8
                FROM {self.table} WHERE {self.open}""",
            now,
        )
        return found
