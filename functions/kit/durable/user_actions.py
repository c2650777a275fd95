"""What users did: a row in the transaction of what it changes, so that there is none without it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from functions.kit.durable.database import Connection


@dataclass(frozen=True)
class UserAction:
    """`who` did `action` (paused, cancelled ...) to `subject`, and why; `reason` may be empty."""

    who: str
    action: str
    subject: str
    reason: str = ""


async def record_action(tx: Connection, function: str, done: UserAction, now: datetime) -> int:
    """Add a row to the record of a function; returns its number."""
    number: int = await tx.fetchval(
        """INSERT INTO user_action (function, at, who, action, subject, reason)
           VALUES ($1, $2, $3, $4, $5, $6) RETURNING number""",
        *(function, now, done.who, done.action, done.subject, done.reason),
    )
    return number


async def newest(
    connection: Connection, function: str, limit: int, before: int | None
) -> list[dict[str, Any]]:
    """A function's record, newest first, as JSON; `before` is the last `number` of a page.

    What it did by itself, as when something expires, is there under no name, and left out.
    """
    rows = await connection.fetch(
        """SELECT number, at::text, who, action, subject, reason FROM user_action
           WHERE function = $1 AND who <> '' AND ($2::bigint IS NULL OR number < $2)
           ORDER BY number DESC LIMIT $3""",
        *(function, before, limit),
    )
    return [dict(row) for row in rows]
