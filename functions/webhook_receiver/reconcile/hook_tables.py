"""The deliveries that GitHub's hooks have made, beside what is in the ledger.

A delivery is `here` once it is in the ledger, or what it says is; `fetched` where it came there
from GitHub's list. One that is not is `missing`, or `unwanted` where its type has no consumer;
`refused` where it cannot be taken in, and `gone` once GitHub keeps it no longer.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from functions.kit.durable import Connection
from functions.webhook_receiver.reconcile.decide import Kind, Made

_IN_LEDGER = "EXISTS (SELECT FROM delivery WHERE id = guid AND source = 'github')"
# A redelivery of what was refused may have another signature: the secret was mended.
_ANEW = "known.state = 'refused' AND excluded.attempt > known.attempt"


@dataclass(frozen=True)
class Counts:
    """Of one hook's deliveries, since a moment."""

    made: int = 0
    here: int = 0
    fetched: int = 0
    unwanted: int = 0
    missing: int = 0
    refused: int = 0
    gone: int = 0


async def note(tx: Connection, hook: str, made: Sequence[Made]) -> None:
    """Keep what GitHub lists: `here` what the ledger has, else `missing`."""
    await tx.execute(
        f"""INSERT INTO hook_delivery AS known
                (hook, guid, event, action, attempt, delivered_at, state)
            SELECT $1, guid, event, action, attempt, delivered_at,
                   CASE WHEN {_IN_LEDGER} THEN 'here' ELSE 'missing' END
            FROM json_to_recordset($2) AS given (guid text, event text, action text,
                                                 attempt bigint, delivered_at timestamptz)
            ON CONFLICT (hook, guid) DO UPDATE
            SET attempt = greatest(known.attempt, excluded.attempt),
                state = CASE WHEN {_ANEW} THEN 'missing' ELSE known.state END,
                retry_at = CASE WHEN {_ANEW} THEN NULL ELSE known.retry_at END,
                delivered_at = least(known.delivered_at, excluded.delivered_at)""",
        hook,
        [asdict(one) | {"delivered_at": one.delivered_at.isoformat()} for one in made],
    )


async def look_again(tx: Connection, hook: str, kept_since: datetime) -> None:
    """What has come meanwhile is here, what GitHub keeps no longer is gone."""
    await tx.execute(
        f"""UPDATE hook_delivery SET state = CASE WHEN {_IN_LEDGER} THEN 'here' ELSE 'gone' END
            WHERE hook = $1 AND state IN ('missing', 'unwanted', 'refused')
              AND ({_IN_LEDGER} OR (state <> 'unwanted' AND delivered_at < $2))""",
        *(hook, kept_since),
    )


async def open_kinds(connection: Connection, hook: str) -> list[Kind]:
    """The kinds of what is not here."""
    rows = await connection.fetch(
        """SELECT DISTINCT event, action FROM hook_delivery
           WHERE hook = $1 AND state IN ('missing', 'unwanted')""",
        hook,
    )
    return [(row["event"], row["action"]) for row in rows]


async def sort_out(tx: Connection, hook: str, wanted: Collection[Kind]) -> None:
    """Of what is not here those kinds are missing, all others unwanted."""
    await tx.execute(
        """UPDATE hook_delivery AS known
           SET state = CASE WHEN known.state = 'missing' THEN 'unwanted' ELSE 'missing' END
           WHERE hook = $1 AND state IN ('missing', 'unwanted')
             AND (state = 'missing') <> EXISTS (
                 SELECT FROM json_to_recordset($2) AS kind (event text, action text)
                 WHERE kind.event = known.event
                   AND kind.action IS NOT DISTINCT FROM known.action)""",
        *(hook, [{"event": event, "action": action} for event, action in wanted]),
    )


async def missing(connection: Connection, hook: str, now: datetime, limit: int) -> list[Made]:
    """What is to be fetched now, the oldest first: it goes first. What has failed comes later."""
    rows = await connection.fetch(
        """SELECT guid, event, action, attempt, delivered_at FROM hook_delivery
           WHERE hook = $1 AND state = 'missing' AND (retry_at IS NULL OR retry_at <= $2)
           ORDER BY delivered_at LIMIT $3""",
        *(hook, now, limit),
    )
    return [Made(**row) for row in rows]


async def settle(
    connection: Connection,
    hook: str,
    guid: str,
    state: str,
    reason: str | None = None,
    retry_at: datetime | None = None,
) -> None:
    """What became of a delivery that was missing; one that still is, is tried again then."""
    await connection.execute(
        """UPDATE hook_delivery SET state = $3, reason = $4, retry_at = $5
           WHERE hook = $1 AND guid = $2""",
        *(hook, guid, state, reason, retry_at),
    )


async def counts(connection: Connection, since: datetime) -> dict[str, Counts]:
    """Each hook's deliveries since a moment, by state."""
    rows = await connection.fetch(
        """SELECT hook, state, count(*) AS n FROM hook_delivery
           WHERE delivered_at >= $1 GROUP BY hook, state""",
        since,
    )
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        of_hook = found.setdefault(row["hook"], {"made": 0})
        of_hook[row["state"]] = row["n"]
        of_hook["made"] += row["n"]
    return {hook: Counts(**by_state) for hook, by_state in found.items()}


async def troubled(connection: Connection, limit: int) -> list[dict[str, Any]]:
    """What is missing, was refused or is gone: what can still be had before all else."""
    rows = await connection.fetch(
        """SELECT hook, guid, event, action, delivered_at, state, reason FROM hook_delivery
           WHERE state IN ('missing', 'refused', 'gone')
           ORDER BY state <> 'missing', delivered_at LIMIT $1""",
        limit,
    )
    return [dict(row) for row in rows]


async def lacking(connection: Connection) -> dict[str, tuple[int, datetime]]:
    """How many deliveries of each hook are missing or refused, and when the oldest was made."""
    rows = await connection.fetch(
        """SELECT hook, count(*) AS n, min(delivered_at) AS oldest FROM hook_delivery
           WHERE state IN ('missing', 'refused') GROUP BY hook"""
    )
    return {row["hook"]: (row["n"], row["oldest"]) for row in rows}
