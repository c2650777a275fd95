"""The table of Jobs: one row for each request, from the queue to its end.

A state only moves on: each change says from which states it may be made, and tells whether it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, cast

from functions.job_launcher.decide import JobRequest, SecretKey, State
from functions.kit.durable.database import Connection

MAX_FORGOTTEN = 1000  # rows in one statement
_OPEN = "state IN ('queued', 'starting', 'running')"
# No process is making its Job, as far as the lease tells.
FREE = "(launching_until IS NULL OR launching_until <= clock_timestamp())"


_PLAIN = (
    *("position", "reason", "tries", "refusals", "missed_at", "not_before", "cancel"),
    *(
        "superseded_by",
        "source_event",
        "queued_at",
        "launched_at",
        "started_at",
        "ended_at",
        "ending",
    ),
)


@dataclass(frozen=True)
class Row:
    """A request and what became of it."""

    request: JobRequest
    position: int
    state: State
    reason: str
    tries: int
    refusals: int
    missed_at: datetime | None
    not_before: datetime | None
    cancel: str | None
    superseded_by: str | None
    source_event: dict[str, Any] | None
    queued_at: datetime
    launched_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    ending: Mapping[str, Any]

    @property
    def id(self) -> str:
        return self.request.job_id


async def claim(
    tx: Connection,
    request: JobRequest,
    at: datetime,
    *,
    requested_at: datetime,
    source_event: dict[str, Any] | None = None,
) -> bool:
    """Put a request into the queue; False where it has been there before."""
    return bool(
        await tx.fetchval(
            """INSERT INTO job (id, kind, task_id, service, group_name, supersede, request,
                                queued_at, requested_at, source_event)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
               ON CONFLICT DO NOTHING RETURNING true""",
            *(request.job_id, request.kind, request.task_id, request.service, request.group),
            *(request.supersede, asdict(request), at, requested_at, source_event),
        )
    )


async def get(tx: Connection, job_id: str) -> Row | None:
    row = await tx.fetchrow("SELECT * FROM job WHERE id = $1", job_id)
    return row_of(row) if row else None


async def open_of_task(tx: Connection, task_id: str) -> list[Row]:
    rows = await tx.fetch(
        f"SELECT * FROM job WHERE task_id = $1 AND {_OPEN} ORDER BY position", task_id
    )
    return [row_of(row) for row in rows]


async def open_older(tx: Connection, request: JobRequest, at: datetime) -> list[Row]:
    """What a request replaces: the open ones of its supersede key that were requested before it.

    Those of the same event are no older than it.
    """
    if not request.supersede:
        return []
    rows = await tx.fetch(
        f"""SELECT * FROM job WHERE supersede = $1 AND {_OPEN}
            AND (requested_at, position) < ($5, (SELECT position FROM job WHERE id = $2))
            AND (request->>'cause_source', request->>'cause_id') <> ($3, $4)
            ORDER BY position""",
        *(request.supersede, request.job_id, request.cause_source, request.cause_id, at),
    )
    return [row_of(row) for row in rows]


async def newer(tx: Connection, request: JobRequest, at: datetime) -> str | None:
    """The newest of its supersede key, where that was requested later, open or ended."""
    if not request.supersede:
        return None
    found: str | None = await tx.fetchval(
        """SELECT id FROM job WHERE supersede = $1 AND requested_at > $2
           ORDER BY requested_at DESC, position DESC LIMIT 1""",
        *(request.supersede, at),
    )
    return found


async def change(tx: Connection, request: JobRequest, source_event: dict[str, Any]) -> bool:
    """Replace a request under its name; False where its Job is being made or has been."""
    return await moved(
        tx,
        """UPDATE job SET kind = $2, service = $3, group_name = $4, supersede = $5, request = $6,
                          source_event = $7
           WHERE id = $1 AND state = 'queued' AND launching_until IS NULL RETURNING true""",
        *(request.job_id, request.kind, request.service, request.group, request.supersede),
        *(asdict(request), source_event),
    )


async def open_of(tx: Connection, ids: Sequence[str]) -> list[Row]:
    """The open ones of these Jobs, oldest first."""
    rows = await tx.fetch(
        f"SELECT * FROM job WHERE id = ANY($1) AND {_OPEN} ORDER BY position", list(ids)
    )
    return [row_of(row) for row in rows]


async def launched_open(tx: Connection) -> list[Row]:
    """What has, or should have, a Job in the cluster, and is not to be stopped."""
    rows = await tx.fetch(
        """SELECT * FROM job WHERE state IN ('starting', 'running') AND cancel IS NULL
           ORDER BY position"""
    )
    return [row_of(row) for row in rows]


async def states(tx: Connection, ids: Sequence[str]) -> dict[str, str]:
    rows = await tx.fetch("SELECT id, state FROM job WHERE id = ANY($1)", list(ids))
    return {row["id"]: row["state"] for row in rows}


async def missed(tx: Connection, job_id: str, at: datetime | None) -> None:
    """Since when Kubernetes does not have its Job; None where it has."""
    await tx.execute("UPDATE job SET missed_at = $2 WHERE id = $1", job_id, at)


async def remark(tx: Connection, job_id: str, reason: str) -> None:
    """What is to be known of an open Job, in words."""
    await tx.execute(f"UPDATE job SET reason = $2 WHERE id = $1 AND {_OPEN}", job_id, reason)


async def started(tx: Connection, job_id: str, at: datetime) -> bool:
    return await moved(
        tx,
        """UPDATE job SET state = 'running', started_at = $2, reason = '',
                          launched_at = coalesce(launched_at, $2), launching_until = NULL
           WHERE id = $1 AND state IN ('queued', 'starting') RETURNING true""",
        *(job_id, at),
    )


async def ended(
    tx: Connection, job_id: str, state: State, at: datetime, reason: str, ending: dict[str, Any]
) -> bool:
    return await moved(
        tx,
        f"""UPDATE job SET state = $2, ended_at = $3, reason = $4, ending = $5, not_before = NULL,
                           launching_until = NULL
            WHERE id = $1 AND {_OPEN} RETURNING true""",
        *(job_id, state, at, reason, ending),
    )


async def withdrawn(
    tx: Connection, job_id: str, at: datetime, reason: str, ending: dict[str, Any]
) -> bool:
    """Cancel what Kubernetes was never asked for; False where it may have a Job."""
    return await moved(
        tx,
        """UPDATE job SET state = 'cancelled', ended_at = $2, reason = $3, ending = $4,
                          not_before = NULL
           WHERE id = $1 AND state = 'queued' AND tries = 0 AND launching_until IS NULL
           RETURNING true""",
        *(job_id, at, reason, ending),
    )


async def cancelling(tx: Connection, job_id: str, cancel: str, by: str | None) -> None:
    """To be stopped as soon as Kubernetes answers."""
    await tx.execute(
        f"UPDATE job SET cancel = $2, superseded_by = $3 WHERE id = $1 AND {_OPEN}",
        *(job_id, cancel, by),
    )


async def to_cancel(tx: Connection) -> list[Row]:
    rows = await tx.fetch(
        f"SELECT * FROM job WHERE cancel IS NOT NULL AND {_OPEN} AND {FREE} ORDER BY position"
    )
    return [row_of(row) for row in rows]


async def forget(connection: Connection, before: datetime) -> None:
    """Delete Jobs that ended before a time; the rest of very many with the next call."""
    await connection.execute(
        """DELETE FROM job WHERE id IN
               (SELECT id FROM job WHERE ended_at < $1 ORDER BY ended_at LIMIT $2)""",
        *(before, MAX_FORGOTTEN),
    )


async def moved(tx: Connection, statement: str, *values: object) -> bool:
    return bool(await tx.fetchval(statement, *values))


def row_of(row: Any) -> Row:
    """A row of the table as a record."""
    request = dict(row["request"])
    for kind in ("secrets", "secret_files"):
        request[kind] = {name: SecretKey(**key) for name, key in request.get(kind, {}).items()}
    return Row(
        request=JobRequest(**request),
        state=cast(State, row["state"]),
        **{name: row[name] for name in _PLAIN},
    )
