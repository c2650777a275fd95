"""What is due, waits or was never sent: the reads of the clockwork over the same tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from functions.kit import wire
from functions.kit.durable.database import Connection
from functions.orchestrator.messages import SOURCE
from functions.orchestrator.writes import HOLD

# Before every timer: where a look through them begins.
START = (datetime.min.replace(tzinfo=UTC), UUID(int=0))


async def due(
    connection: Connection, now: datetime, after: tuple[datetime, UUID], most: int
) -> list[tuple[datetime, UUID]]:
    """Timers that are due, the longest due first, with their runs; those after `after`."""
    rows = await connection.fetch(
        """SELECT due_at, flow_id FROM orchestration_timer
           WHERE due_at <= $1 AND (due_at, flow_id) > ($2, $3) ORDER BY due_at, flow_id LIMIT $4""",
        *(now, *after, most),
    )
    return [(row["due_at"], row["flow_id"]) for row in rows]


async def put_off(connection: Connection, flow_ids: Sequence[UUID], until: datetime) -> None:
    """Leave runs alone for a while, if they have timers."""
    await connection.execute(
        "UPDATE orchestration_timer SET due_at = $2 WHERE flow_id = ANY($1::uuid[])",
        *(flow_ids, until),
    )


async def next_timer(connection: Connection) -> datetime | None:
    """When the next timer is due."""
    found: datetime | None = await connection.fetchval(
        "SELECT min(due_at) FROM orchestration_timer"
    )
    return found


_WAITING = """
SELECT flow_id FROM orchestration_run WHERE status = 'WAITING' AND flow_id > $2
    AND ($1::text IS NULL OR orch_name = $1)
UNION
SELECT r.flow_id FROM orchestration_timer JOIN orchestration_run r USING (flow_id)
JOIN orchestration_step_run s USING (flow_id)
JOIN worker_registration w ON w.orch_name = r.orch_name AND w.step_name = s.step_name
JOIN orchestration_step_template t ON t.template_id = r.template_id AND t.step_name = s.step_name
WHERE r.status = 'IN_PROGRESS' AND r.paused_by IS NULL AND r.flow_id > $2
    AND ($1::text IS NULL OR r.orch_name = $1)
    AND (s.status = 'RETRYING' AND s.due_at <= now() OR s.status = 'PENDING' AND NOT EXISTS (
        SELECT FROM orchestration_step_run b WHERE b.flow_id = r.flow_id
        AND b.step_name = ANY(t.depends_on) AND b.status NOT IN ('DO_SUCCESS', 'SKIPPED')))
ORDER BY flow_id LIMIT $3
"""


async def waiting(
    connection: Connection, orch_name: str | None, after: UUID, most: int
) -> list[UUID]:
    """Runs that wait for workers, of one orchestration or of all, in the order of their ids.

    Either all of a run waits; or a branch could go by now, while others are in flight: such a run
    has a timer.
    """
    rows = await connection.fetch(_WAITING, orch_name, after, most)
    return [row["flow_id"] for row in rows]


async def take_unsent(connection: Connection, now: datetime, most: int) -> list[wire.Message]:
    """Events that somebody should have sent long ago; they are ours now, for a while."""
    rows = await connection.fetch(
        """UPDATE orchestration_outbox SET held_until = $2 WHERE id IN (
               SELECT id FROM orchestration_outbox WHERE held_until <= $1
               ORDER BY at LIMIT $3 FOR UPDATE SKIP LOCKED)
           RETURNING id, type, subject, at, extensions, data""",
        *(now, now + HOLD, most),
    )
    return [
        wire.Message(
            id=str(row["id"]),
            source=SOURCE,
            type=row["type"],
            data=row["data"].encode(),
            subject=row["subject"],
            time=wire.format_time(row["at"]),
            datacontenttype="application/json",
            extensions=json.loads(row["extensions"]),
        )
        for row in rows
    ]


async def hold(connection: Connection, ids: Sequence[str], until: datetime) -> None:
    """Go on keeping events that are still being sent."""
    await connection.execute(
        "UPDATE orchestration_outbox SET held_until = $2 WHERE id = ANY($1::uuid[])", ids, until
    )


async def forget_sent(connection: Connection, ids: Sequence[str]) -> None:
    """Delete events that were sent."""
    await connection.execute("DELETE FROM orchestration_outbox WHERE id = ANY($1::uuid[])", ids)


async def forget_ended(connection: Connection, before: datetime, most: int) -> int:
    """Delete runs that ended before an instant, with their steps and history; return how many.

    One that could not be undone stays: somebody has yet to see to what is left of it.
    """
    gone: int = await connection.fetchval(
        """WITH gone AS (
               DELETE FROM orchestration_run WHERE flow_id IN (
                   SELECT flow_id FROM orchestration_run WHERE completed_at < $1
                   AND status IN ('COMPLETED', 'FAILED', 'UNDONE', 'CANCELLED')
                   ORDER BY completed_at LIMIT $2 FOR UPDATE SKIP LOCKED)
               RETURNING flow_id
           ), steps AS (
               DELETE FROM orchestration_step_run s USING gone WHERE s.flow_id = gone.flow_id
           ), history AS (
               DELETE FROM audit_event a USING gone WHERE a.flow_id = gone.flow_id
           )
           SELECT count(*) FROM gone""",
        *(before, most),
    )
    return gone


async def forget_registrations(connection: Connection, before: datetime, most: int) -> int:
    """Delete what is on record of attempts to register before an instant; return how many.

    Only the oldest are looked at, so that it costs as much as it deletes.
    """
    done: str = await connection.execute(
        """DELETE FROM registration_audit USING (
               SELECT id FROM registration_audit ORDER BY id LIMIT $2
           ) AS oldest WHERE registration_audit.id = oldest.id AND registered_at < $1""",
        *(before, most),
    )
    return int(done.split()[-1])


@dataclass(frozen=True)
class Standing:
    """How much there is of everything, and how old the oldest is, in seconds.

    `runs`: those that have not ended, by status; all others would have to be counted one by one.
    """

    runs: dict[str, int]
    waiting_s: float
    timer_s: float
    unsent: int
    unsent_s: float


async def standing(connection: Connection) -> Standing:
    rows = await connection.fetch(
        """SELECT status, count(*) AS n FROM orchestration_run
           WHERE status IN ('WAITING', 'IN_PROGRESS', 'UNDOING') GROUP BY status"""
    )
    row = await connection.fetchrow(
        """SELECT
            (SELECT extract(epoch FROM now() - min(since)) FROM orchestration_run
             WHERE status = 'WAITING')::float8 AS waiting_s,
            (SELECT greatest(0, extract(epoch FROM now() - min(due_at)))
             FROM orchestration_timer)::float8 AS timer_s,
            (SELECT count(*) FROM orchestration_outbox)::int AS unsent,
            (SELECT extract(epoch FROM now() - min(at)) FROM orchestration_outbox)::float8
             AS unsent_s"""
    )
    assert row is not None, "a SELECT without FROM has one row"
    return Standing(
        {row["status"]: row["n"] for row in rows},
        row["waiting_s"] or 0.0,
        row["timer_s"] or 0.0,
        row["unsent"],
        row["unsent_s"] or 0.0,
    )
