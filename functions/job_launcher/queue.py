"""The queue: requests that wait for their Jobs, leased to whoever makes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from functions.job_launcher.decide import Waiting
from functions.job_launcher.tables import FREE, Row, moved, row_of
from functions.kit.durable.database import Connection
from functions.kit.durable.locks import JOB_QUEUE
from functions.kit.errors import TemporaryError


async def lock(tx: Connection, timeout_s: float) -> None:
    """Wait for whoever else changes the order of the queue; held until the transaction ends.

    `TemporaryError` where they take longer.
    """
    try:
        await JOB_QUEUE.hold(tx, timeout_s=timeout_s)
    except TimeoutError:
        raise TemporaryError("others are still at work on the queue of Jobs", delay_s=5) from None


async def waiting(tx: Connection) -> list[Waiting]:
    """The queue, oldest first."""
    rows = await tx.fetch(
        f"""SELECT id, group_name, (request->>'group_limit')::int AS group_limit, not_before, reason
            FROM job WHERE state = 'queued' AND cancel IS NULL AND {FREE}
            ORDER BY position LIMIT 5000"""
    )
    return [Waiting(*row) for row in rows]


async def active(tx: Connection) -> dict[str, int]:
    """How many Jobs of each group are in the cluster, or are being made."""
    rows = await tx.fetch(
        f"""SELECT group_name, count(*)::int AS n FROM job
            WHERE state IN ('starting', 'running') OR (state = 'queued' AND NOT {FREE})
            GROUP BY group_name"""
    )
    return {row["group_name"]: row["n"] for row in rows}


async def lease(tx: Connection, ids: Sequence[str], lease_s: float) -> list[Row]:
    """Take requests from the queue, to make their Jobs within the lease; oldest first."""
    rows = await tx.fetch(
        """UPDATE job SET launching_until = clock_timestamp() + make_interval(secs => $2)
           WHERE id = ANY($1) AND state = 'queued' AND cancel IS NULL RETURNING *""",
        *(list(ids), lease_s),
    )
    return sorted((row_of(row) for row in rows), key=lambda row: row.position)


async def next_lease_end_s(connection: Connection) -> float | None:
    """In how many seconds a lease ends whose holder may have died; None where nobody holds one."""
    found: float | None = await connection.fetchval(
        """SELECT extract(epoch FROM min(launching_until) - clock_timestamp())::float8
           FROM job WHERE state = 'queued' AND launching_until > clock_timestamp()"""
    )
    return found


async def release(tx: Connection, ids: Sequence[str]) -> None:
    """Give requests back to the queue, with nothing tried."""
    await tx.execute(
        "UPDATE job SET launching_until = NULL WHERE id = ANY($1) AND state = 'queued'", list(ids)
    )


async def launched(tx: Connection, job_id: str, at: datetime) -> bool:
    return await moved(
        tx,
        """UPDATE job SET state = 'starting', launched_at = $2, reason = '', not_before = NULL,
                          tries = tries + 1, source_event = NULL, launching_until = NULL
           WHERE id = $1 AND state = 'queued' RETURNING true""",
        *(job_id, at),
    )


async def waits(
    tx: Connection,
    ids: Sequence[str],
    reason: str,
    not_before: datetime,
    *,
    denied: bool = False,
) -> None:
    """Leave requests in the queue until a time."""
    await tx.execute(
        """UPDATE job SET reason = $2, not_before = $3, tries = tries + 1,
                          refusals = refusals + $4::int, launching_until = NULL
           WHERE id = ANY($1) AND state = 'queued'""",
        *(list(ids), reason, not_before, int(denied)),
    )


async def waiting_since(tx: Connection, at: datetime) -> list[Row]:
    rows = await tx.fetch(
        "SELECT * FROM job WHERE state = 'queued' AND queued_at < $1 ORDER BY position", at
    )
    return [row_of(row) for row in rows]
