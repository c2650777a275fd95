"""The queries of the REST API; rows have the names of its answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from functions.kit.durable import Connection


@dataclass(frozen=True)
class Page:
    """A page of a list and its order; `sort_by` is a key of the list's columns."""

    offset: int
    size: int
    sort_by: str
    descending: bool

    def clause(self, columns: dict[str, str], tie: str) -> str:
        """Return ORDER BY and LIMIT; the column is never the caller's text."""
        direction = "DESC" if self.descending else "ASC"
        order = f"ORDER BY {columns[self.sort_by]} {direction}, {tie} {direction}"
        return f"{order} LIMIT {self.size} OFFSET {self.offset}"


ORCHESTRATION_COLUMNS = {
    "orchName": "t.orch_name",
    "type": "t.type",
    "status": "t.status",
    "initiatorName": "t.initiator_service",
    "lastUpdated": "t.last_updated",
}
RUN_COLUMNS = {"startedAt": "r.started_at", "completedAt": "r.completed_at", "status": "r.status"}

# The first line as in the partial index. What a user has cancelled, undone or retried has another
# cause, or none.
_STUCK = """(status IN ('WAITING', 'UNDO_FAILED') OR paused_by IS NOT NULL
    OR (status IN ('FAILED', 'UNDONE') AND cause IN ('FAILURE', 'DEADLINE')
        AND completed_at > $6))"""
FAILED_FOR = timedelta(days=1)  # so long a run that failed needs attention
_WORKERS = """(SELECT count(*) FROM orchestration_step_template s JOIN worker_registration w
    ON w.orch_name = t.orch_name AND w.step_name = s.step_name WHERE s.template_id = t.id)"""
_STEPS = "(SELECT count(*) FROM orchestration_step_template s WHERE s.template_id = t.id)"


async def orchestrations(
    db: Connection,
    page: Page,
    *,
    status: str | None,
    type_: str | None,
    name: str | None,
    since: datetime | None,
    until: datetime | None,
) -> tuple[list[dict[str, Any]], int]:
    """Return a page of the current versions of orchestrations, and their number."""
    where = """FROM orchestration_template t WHERE current
        AND ($1::text IS NULL OR status = $1) AND ($2::text IS NULL OR type = $2)
        AND ($3::text IS NULL OR strpos(lower(orch_name), lower($3)) > 0)
        AND ($4::timestamptz IS NULL OR created_at >= $4)
        AND ($5::timestamptz IS NULL OR created_at <= $5)"""
    given = (status, type_, name, since, until)
    total = await db.fetchval(f"SELECT count(*) {where}", *given)
    rows = await db.fetch(
        f"""SELECT t.id, orch_name AS "orchName", type, status, version,
                initiator_service AS "initiatorName", last_updated AS "lastUpdated",
                {_WORKERS} AS "registeredWorkersCount", {_STEPS} AS "totalWorkersExpected"
            {where} {page.clause(ORCHESTRATION_COLUMNS, "t.id")}""",
        *given,
    )
    return [dict(row) for row in rows], total


async def orchestration(db: Connection, name: str) -> dict[str, Any] | None:
    """Return one orchestration with its steps and their workers."""
    row = await db.fetchrow(
        """SELECT id, orch_name AS "orchName", version, type, status,
               initiator_service AS initiator, created_at AS "createdAt",
               last_updated AS "lastUpdated", failure_reason AS "failureReason", definition
           FROM orchestration_template WHERE orch_name = $1 AND current""",
        name,
    )
    if row is None:
        return None
    found = dict(row)
    steps = await db.fetch(
        """SELECT s.seq, s.step_name AS name, s.object_type AS "objectType",
               s.max_retries AS "maxRetries", s.depends_on AS "dependsOn",
               w.worker_service AS "registeredBy", w.registered_at AS "registeredAt",
               CASE WHEN w.step_name IS NULL THEN 'PENDING' ELSE 'SUCCESS' END AS status,
               ARRAY(SELECT DISTINCT o.worker_service FROM worker_registration o
                     WHERE w.step_name IS NULL AND o.step_name = s.step_name
                     ORDER BY o.worker_service) AS "workersElsewhere"
           FROM orchestration_step_template s LEFT JOIN worker_registration w
               ON w.orch_name = $2 AND w.step_name = s.step_name
           WHERE s.template_id = $1 ORDER BY s.seq""",
        found.pop("id"),
        name,
    )
    definition = found.pop("definition")
    found["deadlineSeconds"] = definition["deadline_s"]
    found["onFailure"] = "hold" if definition["hold_on_failure"] else "undo"
    found["steps"] = [dict(step) for step in steps]
    return found


async def registrations(db: Connection, name: str, page: Page) -> tuple[list[dict[str, Any]], int]:
    """Return a page of all registrations of an orchestration, rejected ones too."""
    total = await db.fetchval("SELECT count(*) FROM registration_audit WHERE orch_name = $1", name)
    rows = await db.fetch(
        f"""SELECT as_role AS "asRole", service_name AS "serviceName", status,
                registered_steps->'steps' AS "registeredSteps",
                failed_steps->'steps' AS "failedSteps", failed_steps->'errors' AS errors,
                registered_at AS "registeredAt"
            FROM registration_audit WHERE orch_name = $1
            {page.clause({"registeredAt": "registered_at"}, "id")}""",
        name,
    )
    return [dict(row) for row in rows], total


async def runs(
    db: Connection,
    page: Page,
    *,
    name: str | None = None,
    part: str | None = None,
    status: str | None,
    stuck_at: datetime | None = None,
    since: datetime | None,
    until: datetime | None,
) -> tuple[list[dict[str, Any]], int]:
    """Return a page of runs, and their number: of one orchestration, or of names with `part`.

    `stuck_at`: only those that need an operator at that time.
    """
    where = """FROM orchestration_run r WHERE ($1::text IS NULL OR orch_name = $1)
        AND ($2::text IS NULL OR strpos(lower(orch_name), lower($2)) > 0)
        AND ($3::text IS NULL OR status = $3)
        AND ($4::timestamptz IS NULL OR started_at >= $4)
        AND ($5::timestamptz IS NULL OR started_at <= $5)"""
    given: tuple[object, ...] = (name, part, status, since, until)
    if stuck_at is not None:
        where += f" AND {_STUCK}"
        given = (*given, stuck_at - FAILED_FOR)
    total = await db.fetchval(f"SELECT count(*) {where}", *given)
    rows = await db.fetch(
        f"""SELECT orch_name AS "orchName", flow_id::text AS "executionId", status, reason,
                triggered_by AS "triggeredBy", paused_by AS "pausedBy",
                started_at AS "startedAt", completed_at AS "completedAt"
            {where} {page.clause(RUN_COLUMNS, "flow_id")}""",
        *given,
    )
    return [dict(row) for row in rows], total


async def status(db: Connection, flow_id: UUID) -> str | None:
    """Return the status of a run; None where there is none."""
    found: str | None = await db.fetchval(
        "SELECT status FROM orchestration_run WHERE flow_id = $1", flow_id
    )
    return found


async def run_facts(db: Connection, flow_id: UUID) -> dict[str, Any] | None:
    """Return the columns of a run besides its state."""
    row = await db.fetchrow(
        """SELECT r.orch_name, r.triggered_by, r.correlation_id, t.version,
               (SELECT max(at) FROM audit_event a WHERE a.flow_id = r.flow_id) AS last_updated
           FROM orchestration_run r JOIN orchestration_template t ON t.id = r.template_id
           WHERE r.flow_id = $1""",
        flow_id,
    )
    return None if row is None else dict(row)


async def history(
    db: Connection,
    flow_id: UUID,
    *,
    type_: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[dict[str, Any]]:
    """Return the audit of a run, in order; at most 10,000 entries."""
    rows = await db.fetch(
        """SELECT id, type AS "eventType", step_name AS "stepName", action, attempt, detail, who,
               at AS timestamp
           FROM audit_event WHERE flow_id = $1 AND ($2::text IS NULL OR type = $2)
           AND ($3::timestamptz IS NULL OR at >= $3) AND ($4::timestamptz IS NULL OR at <= $4)
           ORDER BY id LIMIT 10000""",
        flow_id,
        type_,
        since,
        until,
    )
    return [dict(row) for row in rows]
