"""The queue of requests, and the leases of the processes that create their Jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from functions.job_launcher.decide.budget import Unit
from functions.job_launcher.decide.due_requests import QueuedRequest
from functions.job_launcher.decide.job_request import JobRequest
from functions.job_launcher.tables import NOT_LEASED, JobRow, changes_row, row_of
from functions.kit.durable import Connection
from functions.kit.durable.locks import JOB_QUEUE
from functions.kit.errors import TemporaryError

WAITS = "state = 'queued' AND approval IS NULL AND cancel IS NULL"


async def set_place(tx: Connection, request: JobRequest) -> int:
    """Store the place of a request that was just added, among those of its group; 0 where it waits
    for an approval."""
    if request.needs_approval("start"):
        return 0
    place: int = await tx.fetchval(
        f"""UPDATE job SET placed_at = queued_at,
                place = (SELECT count(*) FROM job WHERE group_name = $2 AND {WAITS})
            WHERE id = $1 RETURNING place""",
        *(request.job_id, request.group),
    )
    return place


async def lock(tx: Connection, timeout_s: float) -> None:
    """Lock the order of the queue until the transaction ends; `TemporaryError` at the timeout."""
    try:
        await JOB_QUEUE.hold(tx, timeout_s=timeout_s)
    except TimeoutError:
        raise TemporaryError("another transaction holds the queue of Jobs", delay_s=5) from None


async def queued_requests(tx: Connection) -> list[QueuedRequest]:
    """Return the queue, oldest first."""
    rows = await tx.fetch(
        f"""SELECT id, group_name, (request->>'group_limit')::int AS group_limit, not_before, reason
            FROM job WHERE state = 'queued' AND cancel IS NULL AND approval IS NULL
            AND {NOT_LEASED}
            ORDER BY position LIMIT 5000"""
    )
    return [QueuedRequest(*row) for row in rows]


async def active_by_group(tx: Connection) -> dict[str, int]:
    """Count the Jobs of each group that are in the cluster or leased."""
    rows = await tx.fetch(
        f"""SELECT group_name, count(*)::int AS n FROM job
            WHERE state IN ('starting', 'running') OR (state = 'queued' AND NOT {NOT_LEASED})
            GROUP BY group_name"""
    )
    return {row["group_name"]: row["n"] for row in rows}


async def lease(
    tx: Connection,
    ids: Sequence[str],
    lease_s: float,
    grants: Mapping[str, Mapping[Unit, float]],
) -> list[JobRow]:
    """Lease requests for the creation of their Jobs, with what each may use of its group's budget;
    return them, oldest first."""
    rows = await tx.fetch(
        """UPDATE job SET launching_until = clock_timestamp() + make_interval(secs => $2),
               granted = coalesce(granted, $3::jsonb -> id)  -- its Job may be there already
           WHERE id = ANY($1) AND state = 'queued' AND cancel IS NULL RETURNING *""",
        *(list(ids), lease_s, {name: dict(granted) for name, granted in grants.items()}),
    )
    return sorted((row_of(row) for row in rows), key=lambda row: row.position)


async def next_lease_end_s(connection: Connection) -> float | None:
    """Return in how many seconds the next lease ends; None without leases."""
    found: float | None = await connection.fetchval(
        """SELECT extract(epoch FROM min(launching_until) - clock_timestamp())::float8
           FROM job WHERE state = 'queued' AND launching_until > clock_timestamp()"""
    )
    return found


async def release(tx: Connection, ids: Sequence[str]) -> None:
    """Return leased requests to the queue without counting a try."""
    await tx.execute(
        """UPDATE job SET launching_until = NULL, granted = NULL
           WHERE id = ANY($1) AND state = 'queued'""",
        list(ids),
    )


async def mark_launched(tx: Connection, job_id: str, at: datetime) -> bool:
    return await changes_row(
        tx,
        """UPDATE job SET state = 'starting', launched_at = $2, reason = '', not_before = NULL,
                          tries = tries + 1, source_event = NULL, launching_until = NULL
           WHERE id = $1 AND state = 'queued' RETURNING true""",
        job_id,
        at,
    )


async def postpone(
    tx: Connection,
    ids: Sequence[str],
    reason: str,
    not_before: datetime,
    *,
    denied: bool = False,
    may_exist: bool = False,
) -> None:
    """Leave requests in the queue until a time; what they were granted counts on where their Jobs
    may exist."""
    await tx.execute(
        """UPDATE job SET reason = $2, not_before = $3, tries = tries + 1,
                          refusals = refusals + $4::int, launching_until = NULL,
                          granted = CASE WHEN $5 THEN granted END
           WHERE id = ANY($1) AND state = 'queued'""",
        list(ids),
        reason,
        not_before,
        int(denied),
        may_exist,
    )


async def waiting_since(tx: Connection, at: datetime) -> list[JobRow]:
    """Return the requests that wait for their Jobs, and for nothing else, since before a time."""
    rows = await tx.fetch(
        """SELECT * FROM job WHERE state = 'queued' AND approval IS NULL AND waits_since < $1
           ORDER BY position""",
        at,
    )
    return [row_of(row) for row in rows]
