"""All that a batch writes goes in one statement; the records of a table are one parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from functions.kit.durable.database import Connection
from functions.orchestrator.decide.model import Audit, Run
from functions.orchestrator.stored_json import calls_to_json, storable


@dataclass(frozen=True, slots=True)
class New:
    """A run that is stored for the first time."""

    run: Run
    template_id: int
    correlation_id: str
    who: str | None
    timer_at: datetime | None


@dataclass
class Writes:
    """All that one batch writes; what has changed are runs with their timers."""

    new: list[New] = field(default_factory=list)
    changed: list[tuple[Run, datetime | None]] = field(default_factory=list)
    steps: list[tuple[Run, str]] = field(default_factory=list)
    audits: list[tuple[UUID | None, Audit]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.new or self.changed or self.steps or self.audits)


# The columns of a run that change; the others are written once.
_RUN_STATE = (
    *("status", "since", "reason", "cause", "undo_to", "paused_by", "paused_at", "deadline_at"),
    *("completed_at", "timer_at"),
)
_RUN = (
    *("flow_id", "template_id", "orch_name", "payload", "payload_encoding", "correlation_id"),
    *("triggered_by", "started_at", *_RUN_STATE),
)
_STEP_STATE = (
    *("status", "attempt", "base", "undo_attempt", "undo_base", "round", "round_base", "calls"),
    *("due_at", "worker_service", "result", "error_message", "started_at", "completed_at"),
    "undone_at",
)
_STEP = ("flow_id", "step_name", "seq", *_STEP_STATE)
_AUDIT = ("flow_id", "type", "step_name", "action", "attempt", "detail", "who", "at")


def _insert(table: str, columns: Sequence[str], parameter: str) -> str:
    names = ", ".join(columns)
    records = f"json_populate_recordset(NULL::{table}, {parameter})"
    return f"INSERT INTO {table} AS old ({names}) SELECT {names} FROM {records}"


def _set(columns: Sequence[str], source: str) -> str:
    return "SET " + ", ".join(f"{name} = {source}.{name}" for name in columns)


_WRITE = f"""
WITH new_run AS (
    {_insert("orchestration_run", _RUN, "$1")}
), changed_run AS (
    UPDATE orchestration_run old {_set(_RUN_STATE, "new")}
    FROM json_populate_recordset(NULL::orchestration_run, $2) AS new
    WHERE old.flow_id = new.flow_id
), step AS (
    {_insert("orchestration_step_run", _STEP, "$3")}
    ON CONFLICT (flow_id, step_name) DO UPDATE {_set(_STEP_STATE, "EXCLUDED")}
)
{_insert("audit_event", _AUDIT, "$4")}
"""


async def write(tx: Connection, w: Writes, now: datetime) -> None:
    """Write all that a batch has decided: one statement, one round trip."""
    await tx.execute(
        _WRITE,
        [_new_run(one) for one in w.new],
        [{"flow_id": run.flow_id, **_run_state(run, timer_at)} for run, timer_at in w.changed],
        [_step(run, name) for run, name in w.steps],
        [_audit(flow_id, audit, now) for flow_id, audit in w.audits],
    )


def _new_run(new: New) -> Mapping[str, Any]:
    run = new.run
    return {
        "flow_id": run.flow_id,
        "template_id": new.template_id,
        "orch_name": run.definition.name,
        "payload": _storable(run.payload, "payload"),
        "payload_encoding": run.payload_encoding,
        "correlation_id": new.correlation_id,
        "triggered_by": new.who,
        "started_at": _time(run.started_at),
        **_run_state(run, new.timer_at),
    }


def _run_state(run: Run, timer_at: datetime | None) -> Mapping[str, Any]:
    return {
        "status": run.status,
        "since": _time(run.since),
        "reason": run.reason,
        "cause": run.cause,
        "undo_to": run.undo_to,
        "paused_by": run.paused_by,
        "paused_at": _time(run.paused_at),
        "deadline_at": _time(run.deadline_at),
        "completed_at": _time(run.completed_at),
        "timer_at": _time(timer_at),
    }


def _step(run: Run, name: str) -> Mapping[str, Any]:
    step = run.steps[name]
    return {
        "flow_id": run.flow_id,
        "step_name": name,
        "seq": run.definition.by_name[name].seq,
        "status": step.status,
        "attempt": step.attempt,
        "base": step.base,
        "undo_attempt": step.undo_attempt,
        "undo_base": step.undo_base,
        "round": step.round,
        "round_base": step.round_base,
        "calls": calls_to_json(step.calls),
        "due_at": _time(step.due_at),
        "worker_service": step.worker,
        "result": _storable(step.result, "result"),
        "error_message": step.error,
        "started_at": _time(step.started_at),
        "completed_at": _time(step.completed_at),
        "undone_at": _time(step.undone_at),
    }


def _audit(flow_id: UUID | None, audit: Audit, now: datetime) -> Mapping[str, Any]:
    return {
        "flow_id": None if flow_id is None else str(flow_id),
        "type": audit.type,
        "step_name": audit.step,
        "action": audit.action,
        "attempt": audit.attempt,
        "detail": audit.detail,
        "who": audit.who,
        "at": _time(now),
    }


def _storable(value: object, field: str) -> object:
    """A value that PostgreSQL takes as JSON; `PermanentError` names the field if it cannot."""
    if value is not None:
        storable(value, field)
    return value


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
