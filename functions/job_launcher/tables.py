"""The table of Jobs: one row for each request, from the queue to its end.

Each state change names the states that it may start from, and returns whether it was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from functions.events.approval import Stage
from functions.job_launcher.decide.budget import Unit
from functions.job_launcher.decide.job_request import Approval, JobRequest, SecretKey, Workspace
from functions.job_launcher.decide.job_status import State
from functions.kit.durable import Connection, Rule, rule

OPEN = "state IN ('queued', 'starting', 'running')"
NOT_LEASED = "(launching_until IS NULL OR launching_until <= clock_timestamp())"


@dataclass(frozen=True)
class JobRow:
    """A row of the table."""

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
    approval: Stage | None
    approval_until: datetime | None
    approval_details: Mapping[str, Any]
    approvals: Sequence[Mapping[str, Any]]
    queued_at: datetime
    # When the event that wants it happened.
    requested_at: datetime
    launched_at: datetime | None
    started_at: datetime | None
    # Since when its queue has suspended it, while it counts as running.
    paused_at: datetime | None
    ended_at: datetime | None
    ending: Mapping[str, Any]
    # What came of its agent's outputs, as in `outcome.result_of`.
    agent: Mapping[str, Any] | None
    # What it may use of its group's budget, by unit; None without one.
    granted: Mapping[Unit, float] | None
    # What its agent reports, as `AgentUsage`.
    usage: Mapping[str, Any] | None

    @property
    def id(self) -> str:
        return self.request.job_id

    @property
    def deadline_s(self) -> int:
        """Its route's, or what its group's budget leaves it."""
        minutes = (self.granted or {}).get("minutes")
        wanted = self.request.deadline_s
        return wanted if minutes is None else min(wanted, int(minutes * 60))


async def insert(
    tx: Connection,
    request: JobRequest,
    at: datetime,
    *,
    requested_at: datetime,
    source_event: dict[str, Any] | None = None,
) -> bool:
    """Add a request to the queue; False where it was added before."""
    approval = request.approval if request.needs_approval("start") else None
    row = {
        "id": request.job_id,
        "kind": request.kind,
        "task_id": request.task_id,
        "service": request.service,
        "group_name": request.group,
        "supersede": request.supersede,
        "request": asdict(request),
        "queued_at": at,
        "waits_since": at,
        "approval": "start" if approval else None,
        "approval_until": at + timedelta(seconds=approval.timeout_s) if approval else None,
        "requested_at": requested_at,
        "source_event": source_event,
    }
    places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    return await changes_row(
        tx,
        f"INSERT INTO job ({', '.join(row)}) VALUES ({places}) "
        "ON CONFLICT DO NOTHING RETURNING true",
        *row.values(),
    )


async def get(tx: Connection, job_id: str) -> JobRow | None:
    row = await tx.fetchrow("SELECT * FROM job WHERE id = $1", job_id)
    return row_of(row) if row else None


async def open_jobs_of_task(tx: Connection, task_id: str) -> list[JobRow]:
    rows = await tx.fetch(
        f"SELECT * FROM job WHERE task_id = $1 AND {OPEN} ORDER BY position", task_id
    )
    return [row_of(row) for row in rows]


async def jobs_of_issue(tx: Connection, repository: str, issue: int) -> list[JobRow]:
    """Return the newest Jobs of an issue or pull request, newest first."""
    rows = await tx.fetch(
        """SELECT * FROM job WHERE request->>'github' = $1 AND request->>'issue' = $2
           ORDER BY position DESC LIMIT 50""",
        *(repository, str(issue)),
    )
    return [row_of(row) for row in rows]


async def older_open_requests(tx: Connection, request: JobRequest, at: datetime) -> list[JobRow]:
    """Return the open requests of its supersede key that an earlier event requested."""
    if not request.supersede:
        return []
    rows = await tx.fetch(
        f"""SELECT * FROM job WHERE supersede = $1 AND {OPEN}
            AND (requested_at, position) < ($5, (SELECT position FROM job WHERE id = $2))
            AND (request->>'cause_source', request->>'cause_id') <> ($3, $4)
            ORDER BY position""",
        request.supersede,
        request.job_id,
        request.cause_source,
        request.cause_id,
        at,
    )
    return [row_of(row) for row in rows]


async def newer_request(tx: Connection, request: JobRequest, at: datetime) -> str | None:
    """Return the name of the newest Job of its supersede key that was requested after `at`."""
    if not request.supersede:
        return None
    newest: str | None = await tx.fetchval(
        """SELECT id FROM job WHERE supersede = $1 AND requested_at > $2
           ORDER BY requested_at DESC, position DESC LIMIT 1""",
        request.supersede,
        at,
    )
    return newest


async def replace_request(
    tx: Connection, request: JobRequest, source_event: dict[str, Any]
) -> bool:
    """Replace a queued request under its name; False where it is leased or launched."""
    return await changes_row(
        tx,
        """UPDATE job SET kind = $2, service = $3, group_name = $4, supersede = $5, request = $6,
                          source_event = $7
           WHERE id = $1 AND state = 'queued' AND launching_until IS NULL RETURNING true""",
        request.job_id,
        request.kind,
        request.service,
        request.group,
        request.supersede,
        asdict(request),
        source_event,
    )


async def open_jobs(tx: Connection, ids: Sequence[str]) -> list[JobRow]:
    """Return the open ones of these Jobs, oldest first."""
    rows = await tx.fetch(
        f"SELECT * FROM job WHERE id = ANY($1) AND {OPEN} ORDER BY position", list(ids)
    )
    return [row_of(row) for row in rows]


async def launched_jobs(tx: Connection) -> list[JobRow]:
    """Return the rows that have a Job in the cluster and are not cancelled."""
    rows = await tx.fetch(
        """SELECT * FROM job WHERE state IN ('starting', 'running') AND cancel IS NULL
           ORDER BY position"""
    )
    return [row_of(row) for row in rows]


async def states(tx: Connection, ids: Sequence[str]) -> dict[str, str]:
    rows = await tx.fetch("SELECT id, state FROM job WHERE id = ANY($1)", list(ids))
    return {row["id"]: row["state"] for row in rows}


async def set_missed_at(tx: Connection, job_id: str, at: datetime | None) -> None:
    """Store since when Kubernetes lacks its Job; None where it has it."""
    await tx.execute("UPDATE job SET missed_at = $2 WHERE id = $1", job_id, at)


async def set_reason(tx: Connection, job_id: str, reason: str) -> None:
    await tx.execute(f"UPDATE job SET reason = $2 WHERE id = $1 AND {OPEN}", job_id, reason)


async def mark_started(tx: Connection, job_id: str, at: datetime, now: datetime) -> bool:
    """Store since when it runs, by Kubernetes' clock; that it was launched, by ours."""
    return await changes_row(
        tx,
        """UPDATE job SET state = 'running', started_at = $2, reason = '',
                          launched_at = coalesce(launched_at, $3), launching_until = NULL
           WHERE id = $1 AND state IN ('queued', 'starting') RETURNING true""",
        job_id,
        at,
        now,
    )


async def pause(connection: Connection, job_id: str, at: datetime) -> None:
    """Store that its queue has suspended a Job that runs."""
    await connection.execute(
        """UPDATE job SET paused_at = $2
           WHERE id = $1 AND state = 'running' AND paused_at IS NULL""",
        *(job_id, at),
    )


async def resume(tx: Connection, job_id: str, at: datetime) -> None:
    """Store that its next pod runs."""
    await tx.execute(
        """UPDATE job SET paused_at = NULL,
               paused_s = paused_s + greatest(0, extract(epoch FROM $2 - paused_at))
           WHERE id = $1 AND paused_at IS NOT NULL""",
        *(job_id, at),
    )


async def mark_ended(
    tx: Connection, job_id: str, state: State, at: datetime, reason: str, ending: dict[str, Any]
) -> bool:
    return await changes_row(
        tx,
        f"""UPDATE job SET state = $2, ended_at = $3, reason = $4,
                           ending = ending || $5::jsonb, not_before = NULL,
                           launching_until = NULL, approval = nullif(approval, 'start')
            WHERE id = $1 AND {OPEN} RETURNING true""",
        job_id,
        state,
        at,
        reason,
        ending,
    )


async def keep_left(connection: Connection, job_id: str, left: Mapping[str, Any]) -> None:
    """Store what is left of a Job that is about to be deleted, as a part of its ending."""
    await connection.execute(
        f"UPDATE job SET ending = ending || $2::jsonb WHERE id = $1 AND {OPEN}", job_id, dict(left)
    )


async def set_agent(tx: Connection, job_id: str, agent: Mapping[str, Any]) -> bool:
    """Store what came of its outputs; False where a later report, or no such Job, is here."""
    return await changes_row(
        tx,
        """UPDATE job SET agent = $2::jsonb WHERE id = $1 AND (agent IS NULL OR
               (agent->>'settled_at')::timestamptz <= ($2::jsonb->>'settled_at')::timestamptz)
           RETURNING true""",
        job_id,
        dict(agent),
    )


async def cancel_queued(
    tx: Connection, job_id: str, at: datetime, reason: str, ending: dict[str, Any]
) -> bool:
    """Cancel a request that was never tried; False where Kubernetes may have its Job."""
    return await changes_row(
        tx,
        """UPDATE job SET state = 'cancelled', ended_at = $2, reason = $3, ending = $4,
                          not_before = NULL, approval = NULL
           WHERE id = $1 AND state = 'queued' AND tries = 0 AND launching_until IS NULL
           RETURNING true""",
        job_id,
        at,
        reason,
        ending,
    )


async def request_cancellation(tx: Connection, job_id: str, reason: str, by: str | None) -> None:
    """Let the controller stop it."""
    await tx.execute(
        f"UPDATE job SET cancel = $2, superseded_by = $3 WHERE id = $1 AND {OPEN}",
        job_id,
        reason,
        by,
    )


async def cancellation_requested(tx: Connection) -> list[JobRow]:
    rows = await tx.fetch(
        f"SELECT * FROM job WHERE cancel IS NOT NULL AND {OPEN} AND {NOT_LEASED} ORDER BY position"
    )
    return [row_of(row) for row in rows]


def retention(job_history_days: int) -> Sequence[Rule]:
    """Jobs that ended long ago, cancellations of tasks that got no Job, and warnings of a day."""
    return (
        rule("job", "ended_at", job_history_days),
        rule("cancellation", "cancelled_at", days=1),
        rule("budget_warning", "day_ends_at", days=1),
    )


async def changes_row(tx: Connection, statement: str, *values: object) -> bool:
    return bool(await tx.fetchval(statement, *values))


def row_of(row: Any) -> JobRow:
    """Read a row of the table."""
    request = dict(row["request"])
    for kind in ("secrets", "secret_files"):
        request[kind] = {name: SecretKey(**key) for name, key in request.get(kind, {}).items()}
    if model := request.get("model"):
        request["model"] = SecretKey(**model)
    if workspace := request.get("workspace"):
        request["workspace"] = Workspace(**workspace)
    if approval := request.get("approval"):
        request["approval"] = Approval(**approval)
    columns = {field.name: row[field.name] for field in fields(JobRow)}
    return JobRow(**columns | {"request": JobRequest(**request)})
