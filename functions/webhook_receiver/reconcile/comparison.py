"""What is compared with the ledger, when next, and how far it is: one row for each.

Whoever takes a row's turn moves `due_at` on in the same statement, so of several processes one
works; one that dies delays its row until it is due again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from functions.kit.durable import Connection


@dataclass(frozen=True)
class Comparison:
    """How a comparison stands. `checked_at`: when all was compared; it began at `made_at`."""

    name: str
    made_at: datetime
    due_at: datetime
    checked_at: datetime | None
    problem: str | None
    memory: Mapping[str, Any]


async def turn(
    connection: Connection, name: str, now: datetime, every: timedelta
) -> Mapping[str, Any] | None:
    """Its memory if it is due, and the turn is ours; None if not."""
    memory: Mapping[str, Any] | None = await connection.fetchval(
        """INSERT INTO comparison AS known (name, due_at, made_at) VALUES ($1, $3, $2)
           ON CONFLICT (name) DO UPDATE SET due_at = excluded.due_at WHERE known.due_at <= $2
           RETURNING memory""",
        *(name, now, now + every),
    )
    return memory


async def remember(connection: Connection, name: str, memory: Mapping[str, Any]) -> None:
    """How far it is."""
    await connection.execute("UPDATE comparison SET memory = $2 WHERE name = $1", name, memory)


async def done(connection: Connection, name: str, now: datetime) -> None:
    """All is compared."""
    await connection.execute(
        "UPDATE comparison SET checked_at = $2, problem = NULL WHERE name = $1", name, now
    )


async def go_on(
    connection: Connection, name: str, due_at: datetime, problem: str | None = None
) -> None:
    """It is not at its end, for that reason, and goes on then."""
    await connection.execute(
        "UPDATE comparison SET due_at = $2, problem = $3 WHERE name = $1", *(name, due_at, problem)
    )


async def every(connection: Connection) -> dict[str, Comparison]:
    rows = await connection.fetch(
        "SELECT name, made_at, due_at, checked_at, problem, memory FROM comparison"
    )
    return {row["name"]: Comparison(**row) for row in rows}
