"""SQL of the ends of dead letters: dismissed, deleted or expired, each with an audit row."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from functions.kit.durable import Connection

_AUDITED = "number, $1, $2, $3, $4, source, id, type, dest"
_INSERT = "INSERT INTO audit (dead_letter, at, who, action, reason, source, id, type, dest)"


async def dismiss(tx: Connection, number: int, who: str, reason: str, now: datetime) -> bool:
    """Mark an open dead letter as dismissed; False where it is not open."""
    found = await tx.fetchval(
        f"""WITH ended AS (UPDATE dead_letter SET state = 'dismissed'
                WHERE number = $5 AND state = 'open' RETURNING *)
            {_INSERT} SELECT {_AUDITED} FROM ended RETURNING true""",
        *(now, who, "dismissed", reason, number),
    )
    return found is not None


async def delete(tx: Connection, number: int, who: str, reason: str, now: datetime) -> bool:
    """Delete a dead letter with its payload and its redrives; False where there is none."""
    found = await tx.fetchval(
        f"""WITH ended AS (DELETE FROM dead_letter WHERE number = $5 RETURNING *)
            {_INSERT} SELECT {_AUDITED} FROM ended RETURNING true""",
        *(now, who, "deleted", reason, number),
    )
    return found is not None


# Of retention. One that is being sent is left; what another process deletes is not waited for.
EXPIRE = f"""
    WITH old AS (
            SELECT number FROM dead_letter
            WHERE last_at < now() - make_interval(days => $1) AND state <> 'redriving'
            ORDER BY last_at LIMIT $2 FOR UPDATE SKIP LOCKED),
        ended AS (
            DELETE FROM dead_letter USING old WHERE dead_letter.number = old.number
            RETURNING dead_letter.*),
        audited AS (
            {_INSERT}
            SELECT number, now(), 'dead-letter', 'expired', 'kept for ' || $1 || ' days',
                   source, id, type, dest
            FROM ended RETURNING true)
    SELECT count(*) FROM audited"""


async def of(connection: Connection, number: int) -> list[dict[str, Any]]:
    """The audit of one dead letter, oldest first, as JSON."""
    rows = await connection.fetch(
        "SELECT who, at::text, action, reason FROM audit WHERE dead_letter = $1 ORDER BY number",
        number,
    )
    return [dict(row) for row in rows]


async def newest(connection: Connection, limit: int, before: int | None) -> list[dict[str, Any]]:
    """The audit of all, newest first, as JSON; `before` is the `number` of the page before."""
    rows = await connection.fetch(
        """SELECT number, dead_letter, at::text, who, action, reason, source, id, type,
                  dest
           FROM audit WHERE $1::bigint IS NULL OR number < $1 ORDER BY number DESC LIMIT $2""",
        *(before, limit),
    )
    return [dict(row) for row in rows]
