"""The tables of orchestrations and workers: what a registration reads and writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from functions.events.saga import RegistrationDecided
from functions.kit.durable import Connection
from functions.kit.durable.locks import REGISTRATION
from functions.orchestrator.decide.model import Definition
from functions.orchestrator.stored_json import definition_from_json, definition_to_json


@dataclass(frozen=True)
class Current:
    """The version of an orchestration that new runs are started with."""

    version: int
    definition: Definition


async def lock(tx: Connection, orch_name: str) -> None:
    """One registration of an orchestration at a time, also of one that is not there yet."""
    await REGISTRATION.hold(tx, orch_name)


async def current(tx: Connection, orch_name: str) -> Current | None:
    """The current version of an orchestration."""
    row = await tx.fetchrow(
        "SELECT version, definition FROM orchestration_template WHERE orch_name = $1 AND current",
        orch_name,
    )
    return None if row is None else Current(row["version"], definition_from_json(row["definition"]))


async def step_names(tx: Connection, orch_name: str) -> list[str]:
    """The steps of all versions, as runs may be pinned to any: the current ones first."""
    rows = await tx.fetch(
        """SELECT s.step_name FROM orchestration_step_template s
           JOIN orchestration_template t ON t.id = s.template_id WHERE t.orch_name = $1
           GROUP BY s.step_name ORDER BY max(t.version) DESC, min(s.seq)""",
        orch_name,
    )
    return [row["step_name"] for row in rows]


async def workers(tx: Connection, orch_name: str) -> dict[str, str]:
    """Step name to the service that has registered for it."""
    rows = await tx.fetch(
        "SELECT step_name, worker_service FROM worker_registration WHERE orch_name = $1", orch_name
    )
    return {row["step_name"]: row["worker_service"] for row in rows}


async def store(tx: Connection, definition: Definition, version: int, now: datetime) -> None:
    """Make a new version the current one; runs keep the version that they started with."""
    await tx.execute(
        "UPDATE orchestration_template SET current = false WHERE orch_name = $1 AND current",
        definition.name,
    )
    template_id = await tx.fetchval(
        """INSERT INTO orchestration_template (orch_name, version, current, type,
               initiator_service, status, definition, created_at, last_updated)
           VALUES ($1, $2, true, $3, $4, 'PENDING', $5, $6, $6) RETURNING id""",
        definition.name,
        version,
        definition.type,
        definition.initiator,
        definition_to_json(definition),
        now,
    )
    await tx.execute(
        """INSERT INTO orchestration_step_template
               (template_id, step_name, seq, object_type, max_retries, depends_on)
           SELECT $1, step_name, seq, object_type, max_retries, depends_on
           FROM json_to_recordset($2) AS step (step_name text, seq int, object_type text,
                                               max_retries int, depends_on text[])""",
        template_id,
        [
            {
                "step_name": s.name,
                "seq": s.seq,
                "object_type": s.object_type,
                "max_retries": s.retry.attempts - 1,
                "depends_on": s.after,
            }
            for s in definition.steps
        ],
    )


async def store_worker(
    tx: Connection, orch_name: str, steps: Sequence[str], service: str, now: datetime
) -> None:
    """A service is the worker for these steps now."""
    await tx.execute(
        """INSERT INTO worker_registration (orch_name, step_name, worker_service, registered_at)
           SELECT $1, step, $3, $4 FROM unnest($2::text[]) AS step
           ON CONFLICT (orch_name, step_name) DO UPDATE SET registered_at = $4""",
        orch_name,
        steps,
        service,
        now,
    )


async def remove_worker(tx: Connection, orch_name: str, service: str) -> list[str]:
    """A service works for an orchestration no more; return the steps that it had."""
    rows = await tx.fetch(
        """DELETE FROM worker_registration WHERE orch_name = $1 AND worker_service = $2
           RETURNING step_name""",
        orch_name,
        service,
    )
    return sorted(row["step_name"] for row in rows)


async def set_status(
    tx: Connection, orch_name: str, status: str, reason: str | None, now: datetime
) -> None:
    """Say whether an orchestration can run."""
    await tx.execute(
        """UPDATE orchestration_template SET status = $2, failure_reason = $3, last_updated = $4
           WHERE orch_name = $1 AND current
             AND (status, failure_reason) IS DISTINCT FROM ($2, $3)""",
        orch_name,
        status,
        reason,
        now,
    )


async def unhealthy(tx: Connection) -> list[str]:
    """Orchestrations that cannot run, though every step may have a worker by now."""
    rows = await tx.fetch(
        """SELECT orch_name FROM orchestration_template t
           WHERE current AND status <> 'SUCCESS' AND NOT EXISTS (
               SELECT FROM orchestration_step_template s WHERE s.template_id = t.id
               AND NOT EXISTS (SELECT FROM worker_registration w
                   WHERE w.orch_name = t.orch_name AND w.step_name = s.step_name))
           ORDER BY orch_name"""
    )
    return [row["orch_name"] for row in rows]


async def audit(
    tx: Connection,
    decided: RegistrationDecided,
    steps: Sequence[str],
    now: datetime,
    *,
    note: str | None = None,
) -> None:
    """Write an attempt down, good or bad."""
    bad = decided.status == "FAILED"
    errors = [*decided.errors, *([note] if note else [])]
    await tx.execute(
        """INSERT INTO registration_audit (orch_name, as_role, service_name, status,
               registered_steps, failed_steps, registered_at)
           VALUES ($1, $2, $3, $4, $5, $6, $7)""",
        decided.orch_name,
        "WORKER" if decided.as_ == "worker" else "INITIATOR",
        decided.service_name,
        decided.status,
        {"steps": [] if bad else list(steps)},
        {"errors": errors, "steps": list(steps) if bad else []},
        now,
    )
