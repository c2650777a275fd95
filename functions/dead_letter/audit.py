"""SQL of the ends of dead letters: dismissed, deleted or expired, each on the record of actions.

The record outlives the dead letter: `about` says which event it was, and holds none of its data.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from functions.kit.durable import Connection

_MINE = "function = 'dead_letter'"
_INSERT = """INSERT INTO user_action (function, at, who, action, reason, subject, about)
    SELECT 'dead_letter', {values}, 'dead letter ' || number, jsonb_build_object(
        'dead_letter', number, 'source', source, 'id', id, 'type', type, 'dest', dest)
    FROM ended RETURNING true"""
_BY_USER = _INSERT.format(values="$1, $2, $3, $4")
# Under no name: the record of what users did leaves it out.
BY_RETENTION = _INSERT.format(values="now(), '', 'expired', 'kept for ' || $1 || ' days'")


async def dismiss(tx: Connection, number: int, who: str, reason: str, now: datetime) -> bool:
    """Mark an open dead letter as dismissed; False where it is not open."""
    found = await tx.fetchval(
        f"""WITH ended AS (UPDATE dead_letter SET state = 'dismissed'
                WHERE number = $5 AND state = 'open' RETURNING *)
            {_BY_USER}""",
        *(now, who, "dismissed", reason, number),
    )
    return found is not None


async def delete(tx: Connection, number: int, who: str, reason: str, now: datetime) -> bool:
    """Delete a dead letter with its payload and its redrives; False where there is none."""
    found = await tx.fetchval(
        f"""WITH ended AS (DELETE FROM dead_letter WHERE number = $5 RETURNING *)
            {_BY_USER}""",
        *(now, who, "deleted", reason, number),
    )
    return found is not None


async def of(connection: Connection, number: int) -> list[dict[str, Any]]:
    """The ends of one dead letter, oldest first, as JSON."""
    rows = await connection.fetch(
        f"""SELECT who, at::text, action, reason FROM user_action
            WHERE {_MINE} AND subject = 'dead letter ' || $1::bigint AND about <> '{{}}'
            ORDER BY number""",
        number,
    )
    return [dict(row) for row in rows]


async def newest(connection: Connection, limit: int, before: int | None) -> list[dict[str, Any]]:
    """The ends of all, newest first, as JSON; `before` is the `number` of the page before."""
    rows = await connection.fetch(
        f"""SELECT number, (about->>'dead_letter')::bigint AS dead_letter, at::text,
                   coalesce(nullif(who, ''), 'dead-letter') AS who, action, reason,
                   about->>'source' AS source, about->>'id' AS id, about->>'type' AS type,
                   about->>'dest' AS dest
            FROM user_action
            WHERE {_MINE} AND about <> '{{}}' AND ($1::bigint IS NULL OR number < $1)
            ORDER BY number DESC LIMIT $2""",
        *(before, limit),
    )
    return [dict(row) for row in rows]
