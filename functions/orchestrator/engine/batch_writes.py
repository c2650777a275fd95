"""All that a batch writes goes in one statement; each column of a table is one parameter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from functions.kit.durable import Connection
from functions.orchestrator.decide.model import Audit, Run
from functions.orchestrator.stored_json import calls_to_json, storable

# Made once: `json.dumps` with options makes another for each call.
_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Row:
    """A run's own row: all of it is stored when it is `new`, and later what changes."""

    run: Run
    template_id: int
    correlation_id: str
    who: str | None
    timer_at: datetime | None
    new: bool


@dataclass
class Writes:
    """All that one batch writes."""

    runs: list[Row] = field(default_factory=list)
    steps: list[tuple[Run, str]] = field(default_factory=list)
    audits: list[tuple[UUID | None, Audit]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.runs or self.steps or self.audits)


# Columns with their types. The state of a run or a step changes; the rest is written once.
_RUN_STATE = {
    "status": "text",
    "since": "timestamptz",
    "reason": "text",
    "cause": "text",
    "undo_to": "text",
    "paused_by": "text",
    "paused_at": "timestamptz",
    "deadline_at": "timestamptz",
    "completed_at": "timestamptz",
    "timer_at": "timestamptz",
}
_RUN = {
    "flow_id": "uuid",
    "template_id": "bigint",
    "orch_name": "text",
    "payload": "jsonb",
    "payload_encoding": "text",
    "correlation_id": "text",
    "triggered_by": "text",
    "started_at": "timestamptz",
    **_RUN_STATE,
}
_STEP_STATE = {
    "status": "text",
    "attempt": "integer",
    "base": "integer",
    "undo_attempt": "integer",
    "undo_base": "integer",
    "round": "integer",
    "round_base": "integer",
    "calls": "jsonb",
    "due_at": "timestamptz",
    "worker_service": "text",
    "result": "jsonb",
    "error_message": "text",
    "started_at": "timestamptz",
    "completed_at": "timestamptz",
    "undone_at": "timestamptz",
}
_STEP = {"flow_id": "uuid", "step_name": "text", "seq": "integer", **_STEP_STATE}
_AUDIT = {
    "flow_id": "uuid",
    "type": "text",
    "step_name": "text",
    "action": "text",
    "attempt": "integer",
    "detail": "text",
    "who": "text",
    "at": "timestamptz",
}
_TABLES = (_RUN, _STEP, _AUDIT)


def _insert(table: str, columns: Mapping[str, str], first: int) -> str:
    """An INSERT of rows whose columns are array parameters, numbered from `first`."""
    arrays = ", ".join(
        f"${number}::{'text' if kind == 'jsonb' else kind}[]"
        for number, kind in enumerate(columns.values(), first)
    )
    values = ", ".join(f"{n}::jsonb" if kind == "jsonb" else n for n, kind in columns.items())
    names = ", ".join(columns)
    return f"INSERT INTO {table} ({names}) SELECT {values} FROM unnest({arrays}) AS new ({names})"


def _or_update(key: str, columns: Mapping[str, str]) -> str:
    # An upsert finds its row by the key's index; an UPDATE over an array scans the whole table
    # for as long as its plan is one that was made when the table was empty.
    state = ", ".join(f"{name} = EXCLUDED.{name}" for name in columns)
    return f"ON CONFLICT ({key}) DO UPDATE SET {state}"


_WRITE = f"""
WITH run AS (
    {_insert("orchestration_run", _RUN, 1)} {_or_update("flow_id", _RUN_STATE)}
), step AS (
    {_insert("orchestration_step_run", _STEP, 1 + len(_RUN))}
    {_or_update("flow_id, step_name", _STEP_STATE)}
)
{_insert("audit_event", _AUDIT, 1 + len(_RUN) + len(_STEP))}
"""


async def write(tx: Connection, w: Writes, now: datetime) -> None:
    """Write all that a batch has decided: one statement, one round trip."""
    rows = (
        [_run(one) for one in w.runs],
        [_step(run, name) for run, name in w.steps],
        [_audit(flow_id, audit, now) for flow_id, audit in w.audits],
    )
    await tx.execute(
        _WRITE,
        *(
            [row[name] for row in of_table]
            for columns, of_table in zip(_TABLES, rows, strict=True)
            for name in columns
        ),
    )


def _run(row: Row) -> Mapping[str, Any]:
    run = row.run
    return {
        "flow_id": run.flow_id,
        "template_id": row.template_id,
        "orch_name": run.definition.name,
        "payload": _stored(run.payload, "payload") if row.new else None,
        "payload_encoding": run.payload_encoding,
        "correlation_id": row.correlation_id,
        "triggered_by": row.who,
        "started_at": run.started_at,
        "status": run.status,
        "since": run.since,
        "reason": run.reason,
        "cause": run.cause,
        "undo_to": run.undo_to,
        "paused_by": run.paused_by,
        "paused_at": run.paused_at,
        "deadline_at": run.deadline_at,
        "completed_at": run.completed_at,
        "timer_at": row.timer_at,
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
        "calls": _encode(calls_to_json(step.calls)),
        "due_at": step.due_at,
        "worker_service": step.worker,
        "result": _stored(step.result, "result"),
        "error_message": step.error,
        "started_at": step.started_at,
        "completed_at": step.completed_at,
        "undone_at": step.undone_at,
    }


def _audit(flow_id: UUID | None, audit: Audit, now: datetime) -> Mapping[str, Any]:
    return {
        "flow_id": flow_id,
        "type": audit.type,
        "step_name": audit.step,
        "action": audit.action,
        "attempt": audit.attempt,
        "detail": audit.detail,
        "who": audit.who,
        "at": now,
    }


def _stored(value: object, field: str) -> str | None:
    """A value as JSON text; `PermanentError` names the field where PostgreSQL would not take it."""
    return None if value is None else storable(value, field)
