"""All SQL of the launcher: one row for each request, from its claim to its end.

A state only moves on: each change says from which states it may be made, and tells whether it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, cast, get_args

from functions.job_launcher.decide import JobRequest, SecretKey, State, Waiting
from functions.kit.durable.database import Connection
from functions.kit.errors import TemporaryError

MAX_COUNT = 10_000
MAX_FORGOTTEN = 1000  # rows in one statement
_LOCK = 4_207_600_522  # any number; the queue is looked at by one at a time
_OPEN = "state IN ('queued', 'starting', 'running')"


_PLAIN = (
    *("position", "reason", "tries", "refusals", "missed_at", "not_before", "cancel"),
    *("superseded_by", "asked", "queued_at", "launched_at", "started_at", "ended_at", "ending"),
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
    asked: dict[str, Any] | None
    queued_at: datetime
    launched_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    ending: Mapping[str, Any]

    @property
    def id(self) -> str:
        return self.request.job_id


async def lock(tx: Connection, most_s: float) -> None:
    """Wait for whoever else changes states, for so many seconds; held until the transaction ends.

    `TemporaryError` where they take longer.
    """
    try:
        await tx.execute("SELECT pg_advisory_xact_lock($1)", _LOCK, timeout=most_s)
    except TimeoutError:
        raise TemporaryError("others are still at work on the queue of Jobs", delay_s=5) from None


async def claim(
    tx: Connection,
    request: JobRequest,
    at: datetime,
    *,
    asked_at: datetime,
    asked: dict[str, Any] | None = None,
) -> bool:
    """Put a request into the queue; False where it has been there before."""
    return bool(
        await tx.fetchval(
            """INSERT INTO job (id, kind, task_id, service, group_name, supersede, request,
                                queued_at, asked_at, asked)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
               ON CONFLICT DO NOTHING RETURNING true""",
            *(request.job_id, request.kind, request.task_id, request.service, request.group),
            *(request.supersede, asdict(request), at, asked_at, asked),
        )
    )


async def get(tx: Connection, job_id: str) -> Row | None:
    row = await tx.fetchrow("SELECT * FROM job WHERE id = $1", job_id)
    return _row(row) if row else None


async def open_of_task(tx: Connection, task_id: str) -> list[Row]:
    rows = await tx.fetch(
        f"SELECT * FROM job WHERE task_id = $1 AND {_OPEN} ORDER BY position", task_id
    )
    return [_row(row) for row in rows]


async def open_older(tx: Connection, request: JobRequest, at: datetime) -> list[Row]:
    """What a request replaces: the open ones of its supersede key that were asked for before it.

    Those of the same event are no older than it.
    """
    if not request.supersede:
        return []
    rows = await tx.fetch(
        f"""SELECT * FROM job WHERE supersede = $1 AND {_OPEN}
            AND (asked_at, position) < ($5, (SELECT position FROM job WHERE id = $2))
            AND (request->>'cause_source', request->>'cause_id') <> ($3, $4)
            ORDER BY position""",
        *(request.supersede, request.job_id, request.cause_source, request.cause_id, at),
    )
    return [_row(row) for row in rows]


async def newer(tx: Connection, request: JobRequest, at: datetime) -> str | None:
    """The newest of its supersede key, where that was asked for later, open or ended."""
    if not request.supersede:
        return None
    found: str | None = await tx.fetchval(
        """SELECT id FROM job WHERE supersede = $1 AND asked_at > $2
           ORDER BY asked_at DESC, position DESC LIMIT 1""",
        *(request.supersede, at),
    )
    return found


async def change(tx: Connection, request: JobRequest, asked: dict[str, Any]) -> None:
    """Ask for something else under the same name, as long as it waits."""
    await tx.execute(
        """UPDATE job SET kind = $2, service = $3, group_name = $4, supersede = $5, request = $6,
                          asked = $7
           WHERE id = $1 AND state = 'queued'""",
        *(request.job_id, request.kind, request.service, request.group, request.supersede),
        *(asdict(request), asked),
    )


async def launched_open(tx: Connection) -> list[Row]:
    """What has, or should have, a Job in the cluster, and is not to be stopped."""
    rows = await tx.fetch(
        """SELECT * FROM job WHERE state IN ('starting', 'running') AND cancel IS NULL
           ORDER BY position"""
    )
    return [_row(row) for row in rows]


async def states(tx: Connection, ids: Sequence[str]) -> dict[str, str]:
    rows = await tx.fetch("SELECT id, state FROM job WHERE id = ANY($1)", list(ids))
    return {row["id"]: row["state"] for row in rows}


async def queue(tx: Connection) -> list[Waiting]:
    """The queue, oldest first."""
    rows = await tx.fetch(
        """SELECT id, group_name, (request->>'group_limit')::int AS group_limit, not_before, reason
           FROM job WHERE state = 'queued' AND cancel IS NULL ORDER BY position LIMIT 5000"""
    )
    return [Waiting(*row) for row in rows]


async def active(tx: Connection) -> dict[str, int]:
    """How many Jobs of each group are in the cluster."""
    rows = await tx.fetch(
        """SELECT group_name, count(*)::int AS n FROM job WHERE state IN ('starting', 'running')
           GROUP BY group_name"""
    )
    return {row["group_name"]: row["n"] for row in rows}


async def launched(tx: Connection, job_id: str, at: datetime) -> bool:
    return await _moved(
        tx,
        """UPDATE job SET state = 'starting', launched_at = $2, reason = '', not_before = NULL,
                          tries = tries + 1, asked = NULL
           WHERE id = $1 AND state = 'queued' RETURNING true""",
        *(job_id, at),
    )


async def waits(
    tx: Connection, job_id: str, reason: str, not_before: datetime, *, denied: bool = False
) -> None:
    await tx.execute(
        """UPDATE job SET reason = $2, not_before = $3, tries = tries + 1,
                          refusals = refusals + $4::int
           WHERE id = $1 AND state = 'queued'""",
        *(job_id, reason, not_before, int(denied)),
    )


async def missed(tx: Connection, job_id: str, at: datetime | None) -> None:
    """Since when Kubernetes does not have its Job; None where it has."""
    await tx.execute("UPDATE job SET missed_at = $2 WHERE id = $1", job_id, at)


async def remark(tx: Connection, job_id: str, reason: str) -> None:
    """What is to be known of an open Job, in words."""
    await tx.execute(f"UPDATE job SET reason = $2 WHERE id = $1 AND {_OPEN}", job_id, reason)


async def started(tx: Connection, job_id: str, at: datetime) -> bool:
    return await _moved(
        tx,
        """UPDATE job SET state = 'running', started_at = $2, reason = '',
                          launched_at = coalesce(launched_at, $2)
           WHERE id = $1 AND state IN ('queued', 'starting') RETURNING true""",
        *(job_id, at),
    )


async def ended(
    tx: Connection, job_id: str, state: State, at: datetime, reason: str, ending: dict[str, Any]
) -> bool:
    return await _moved(
        tx,
        f"""UPDATE job SET state = $2, ended_at = $3, reason = $4, ending = $5, not_before = NULL
            WHERE id = $1 AND {_OPEN} RETURNING true""",
        *(job_id, state, at, reason, ending),
    )


async def cancelling(tx: Connection, job_id: str, cancel: str, by: str | None) -> None:
    """To be stopped as soon as Kubernetes answers."""
    await tx.execute(
        f"UPDATE job SET cancel = $2, superseded_by = $3 WHERE id = $1 AND {_OPEN}",
        *(job_id, cancel, by),
    )


async def to_cancel(tx: Connection) -> list[Row]:
    rows = await tx.fetch(f"SELECT * FROM job WHERE cancel IS NOT NULL AND {_OPEN}")
    return [_row(row) for row in rows]


async def queued_before(tx: Connection, at: datetime) -> list[Row]:
    rows = await tx.fetch(
        "SELECT * FROM job WHERE state = 'queued' AND queued_at < $1 ORDER BY position", at
    )
    return [_row(row) for row in rows]


async def forget(connection: Connection, before: datetime) -> None:
    """Delete Jobs that ended before a time; the rest of very many with the next call."""
    await connection.execute(
        """DELETE FROM job WHERE id IN
               (SELECT id FROM job WHERE ended_at < $1 ORDER BY ended_at LIMIT $2)""",
        *(before, MAX_FORGOTTEN),
    )


async def page(
    tx: Connection, filters: Mapping[str, str], before: int | None, limit: int
) -> list[Row]:
    """Newest first; `filters` are column and value, `before` a position."""
    conditions = _conditions(filters, 3)
    where = " AND ".join(["($1::bigint IS NULL OR position < $1)", *conditions])
    rows = await tx.fetch(
        f"SELECT * FROM job WHERE {where} ORDER BY position DESC LIMIT $2",
        *(before, limit, *filters.values()),
    )
    return [_row(row) for row in rows]


async def count(tx: Connection, filters: Mapping[str, str]) -> int:
    """How many there are, counted up to `MAX_COUNT`."""
    where = " AND ".join(["true", *_conditions(filters, 2)])
    found: int = await tx.fetchval(
        f"SELECT count(*) FROM (SELECT FROM job WHERE {where} LIMIT $1) AS counted",
        *(MAX_COUNT, *filters.values()),
    )
    return found


def _conditions(filters: Mapping[str, str], first: int) -> list[str]:
    columns = {"state": "state", "group": "group_name", "task": "task_id", "service": "service"}
    return [f"{columns[name]} = ${n}" for n, name in enumerate(filters, first)]


async def _moved(tx: Connection, statement: str, *values: object) -> bool:
    return bool(await tx.fetchval(statement, *values))


def _row(row: Any) -> Row:
    request = dict(row["request"])
    for kind in ("secrets", "secret_files"):
        request[kind] = {name: SecretKey(**key) for name, key in request.get(kind, {}).items()}
    return Row(
        request=JobRequest(**request),
        state=cast(State, row["state"]),
        **{name: row[name] for name in _PLAIN},
    )


async def standing(connection: Connection) -> tuple[dict[str, int], float]:
    """How many requests there are of each state, and the oldest queued one's age in seconds."""
    rows = await connection.fetch("SELECT state, count(*) AS n FROM job GROUP BY state")
    oldest_s: float = await connection.fetchval(
        """SELECT coalesce(extract(epoch FROM now() - min(queued_at)), 0)::float8
           FROM job WHERE state = 'queued'"""
    )
    none = dict.fromkeys(get_args(State), 0)
    return none | {row["state"]: row["n"] for row in rows}, oldest_s
