"""The timer loop's queries: due timers, and runs that wait for workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from functions.kit.durable import Connection

# Before every timer.
START = (datetime.min.replace(tzinfo=UTC), UUID(int=0))


async def due(
    connection: Connection, now: datetime, after: tuple[datetime, UUID], limit: int
) -> list[tuple[datetime, UUID]]:
    """Return due timers after `after` with their runs, the earliest first."""
    rows = await connection.fetch(
        """SELECT timer_at, flow_id FROM orchestration_run
           WHERE timer_at <= $1 AND (timer_at, flow_id) > ($2, $3)
           ORDER BY timer_at, flow_id LIMIT $4""",
        now,
        *after,
        limit,
    )
    return [(row["timer_at"], row["flow_id"]) for row in rows]


async def postpone(connection: Connection, flow_ids: Sequence[UUID], until: datetime) -> None:
    """Postpone the timers of runs."""
    await connection.execute(
        """UPDATE orchestration_run SET timer_at = $2 WHERE flow_id IN (
               SELECT flow_id FROM orchestration_run
               WHERE flow_id = ANY($1::uuid[]) AND timer_at IS NOT NULL
               ORDER BY flow_id FOR NO KEY UPDATE)""",
        flow_ids,
        until,
    )


async def next_timer(connection: Connection) -> datetime | None:
    """Return when the next timer is due; None without timers."""
    found: datetime | None = await connection.fetchval(
        "SELECT min(timer_at) FROM orchestration_run"
    )
    return found


_WAITING = """
SELECT flow_id FROM orchestration_run WHERE status = 'WAITING' AND flow_id > $2
    AND ($1::text IS NULL OR orch_name = $1)
UNION
SELECT r.flow_id FROM orchestration_run r
JOIN orchestration_step_run s USING (flow_id)
JOIN worker_registration w ON w.orch_name = r.orch_name AND w.step_name = s.step_name
JOIN orchestration_step_template t ON t.template_id = r.template_id AND t.step_name = s.step_name
WHERE r.timer_at IS NOT NULL AND r.status = 'IN_PROGRESS' AND r.paused_by IS NULL AND r.flow_id > $2
    AND ($1::text IS NULL OR r.orch_name = $1)
    AND (s.status = 'RETRYING' AND s.due_at <= $4 OR s.status = 'PENDING' AND NOT EXISTS (
        SELECT FROM orchestration_step_run b WHERE b.flow_id = r.flow_id
        AND b.step_name = ANY(t.depends_on) AND b.status NOT IN ('DO_SUCCESS', 'SKIPPED')))
ORDER BY flow_id LIMIT $3
"""


async def waiting(
    connection: Connection, orch_name: str | None, after: UUID, limit: int, now: datetime
) -> list[UUID]:
    """Return the runs that wait for workers, of one orchestration or of all, sorted by id.

    Either the whole run waits, or one branch does while others are in flight; that run has a timer.
    """
    rows = await connection.fetch(_WAITING, orch_name, after, limit, now)
    return [row["flow_id"] for row in rows]


@dataclass(frozen=True)
class Counts:
    """The open runs by status, and the ages of the oldest waiting run and timer in seconds."""

    runs: dict[str, int]
    waiting_s: float
    timer_s: float


async def counts(connection: Connection, now: datetime) -> Counts:
    rows = await connection.fetch(
        """SELECT status, count(*) AS n FROM orchestration_run
           WHERE status IN ('WAITING', 'IN_PROGRESS', 'UNDOING') GROUP BY status"""
    )
    row = await connection.fetchrow(
        """SELECT
            (SELECT extract(epoch FROM $1 - min(since)) FROM orchestration_run
             WHERE status = 'WAITING')::float8 AS waiting_s,
            (SELECT greatest(0, extract(epoch FROM $1 - min(timer_at)))
             FROM orchestration_run)::float8 AS timer_s""",
        now,
    )
    assert row is not None, "a SELECT without FROM has one row"
    return Counts(
        {row["status"]: row["n"] for row in rows},
        row["waiting_s"] or 0.0,
        row["timer_s"] or 0.0,
    )
