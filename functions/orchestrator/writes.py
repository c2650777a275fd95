"""All that a batch writes goes in one statement, one set of rows for each table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from functions.kit import wire
from functions.kit.durable.database import Connection
from functions.orchestrator.decide.model import Audit, Run
from functions.orchestrator.rows import calls_to_json, storable

# How long a process may keep an event that it is sending before another one sends it as well.
HOLD = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class New:
    """A run that is stored for the first time."""

    run: Run
    template_id: int
    correlation_id: str
    who: str | None


@dataclass
class Writes:
    """All that one batch writes."""

    new: list[New] = field(default_factory=list)
    changed: list[Run] = field(default_factory=list)
    steps: list[tuple[Run, str]] = field(default_factory=list)
    audits: list[tuple[UUID | None, Audit]] = field(default_factory=list)
    timers: list[tuple[str, datetime]] = field(default_factory=list)
    timers_done: list[str] = field(default_factory=list)
    messages: list[wire.Message] = field(default_factory=list)
    sent: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(
            self.new
            or self.changed
            or self.steps
            or self.audits
            or self.timers
            or self.timers_done
            or self.messages
            or self.sent
        )


_WRITE = """
WITH new_run AS (
    INSERT INTO orchestration_run (flow_id, template_id, orch_name, status, since, reason, cause,
        undo_to, payload, payload_encoding, correlation_id, triggered_by, paused_by, paused_at,
        deadline_at, started_at, completed_at)
    SELECT a, b, c, d, e, f, g, h, i::jsonb, j, k, l, m, n, o, p, q
    FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::timestamptz[], $6::text[],
        $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[],
        $14::timestamptz[], $15::timestamptz[], $16::timestamptz[], $17::timestamptz[])
        AS rows (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q)
), old_run AS (
    UPDATE orchestration_run r SET status = b, since = c, reason = d, cause = e, undo_to = f,
        paused_by = g, paused_at = h, deadline_at = i, completed_at = j
    FROM unnest($18::uuid[], $19::text[], $20::timestamptz[], $21::text[], $22::text[],
        $23::text[], $24::text[], $25::timestamptz[], $26::timestamptz[], $27::timestamptz[])
        AS rows (a, b, c, d, e, f, g, h, i, j)
    WHERE r.flow_id = a
), step AS (
    INSERT INTO orchestration_step_run AS s (flow_id, step_name, seq, status, attempt, base,
        undo_attempt, undo_base, round, round_base, calls, due_at, worker_service, result,
        error_message, started_at, completed_at, undone_at)
    SELECT a, b, c, d, e, f, g, h, i, j, k::jsonb, l, m, n::jsonb, o, p, q, r
    FROM unnest($28::uuid[], $29::text[], $30::int[], $31::text[], $32::int[], $33::int[],
        $34::int[], $35::int[], $36::int[], $37::int[], $38::text[], $39::timestamptz[],
        $40::text[], $41::text[], $42::text[], $43::timestamptz[], $44::timestamptz[],
        $45::timestamptz[])
        AS rows (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r)
    ON CONFLICT (flow_id, step_name) DO UPDATE SET status = EXCLUDED.status,
        attempt = EXCLUDED.attempt, base = EXCLUDED.base, undo_attempt = EXCLUDED.undo_attempt,
        undo_base = EXCLUDED.undo_base, round = EXCLUDED.round, round_base = EXCLUDED.round_base,
        calls = EXCLUDED.calls, due_at = EXCLUDED.due_at,
        worker_service = EXCLUDED.worker_service, result = EXCLUDED.result,
        error_message = EXCLUDED.error_message, started_at = EXCLUDED.started_at,
        completed_at = EXCLUDED.completed_at, undone_at = EXCLUDED.undone_at
), audit AS (
    INSERT INTO audit_event (flow_id, type, step_name, action, attempt, detail, who, at)
    SELECT a, b, c, d, e, f, g, $53::timestamptz
    FROM unnest($46::uuid[], $47::text[], $48::text[], $49::text[], $50::int[], $51::text[],
        $52::text[]) AS rows (a, b, c, d, e, f, g)
), timer AS (
    INSERT INTO orchestration_timer (flow_id, due_at)
    SELECT a, b FROM unnest($54::uuid[], $55::timestamptz[]) AS rows (a, b)
    ON CONFLICT (flow_id) DO UPDATE SET due_at = EXCLUDED.due_at
), timer_done AS (
    DELETE FROM orchestration_timer WHERE flow_id = ANY($56::uuid[])
), outbox AS (
    INSERT INTO orchestration_outbox (id, type, subject, at, extensions, data, held_until)
    SELECT a, b, c, $53::timestamptz, d, e, $62::timestamptz
    FROM unnest($57::uuid[], $58::text[], $59::text[], $60::text[], $61::text[])
        AS rows (a, b, c, d, e)
    ON CONFLICT DO NOTHING
)
DELETE FROM orchestration_outbox WHERE id = ANY($63::uuid[])
"""


async def write(tx: Connection, w: Writes, now: datetime) -> None:
    """Write all that a batch has decided: one statement, one round trip."""
    steps = [(run.flow_id, name, run.steps[name], run.definition) for run, name in w.steps]
    states = [step for _, _, step, _ in steps]
    new = [one.run for one in w.new]
    await tx.execute(
        _WRITE,
        [r.flow_id for r in new],
        [one.template_id for one in w.new],
        [r.definition.name for r in new],
        [r.status for r in new],
        [r.since for r in new],
        [r.reason for r in new],
        [r.cause for r in new],
        [r.undo_to for r in new],
        [None if r.payload is None else storable(r.payload, "payload") for r in new],
        [r.payload_encoding for r in new],
        [one.correlation_id for one in w.new],
        [one.who for one in w.new],
        [r.paused_by for r in new],
        [r.paused_at for r in new],
        [r.deadline_at for r in new],
        [r.started_at for r in new],
        [r.completed_at for r in new],
        [r.flow_id for r in w.changed],
        [r.status for r in w.changed],
        [r.since for r in w.changed],
        [r.reason for r in w.changed],
        [r.cause for r in w.changed],
        [r.undo_to for r in w.changed],
        [r.paused_by for r in w.changed],
        [r.paused_at for r in w.changed],
        [r.deadline_at for r in w.changed],
        [r.completed_at for r in w.changed],
        [flow_id for flow_id, _, _, _ in steps],
        [name for _, name, _, _ in steps],
        [definition.by_name[name].seq for _, name, _, definition in steps],
        [s.status for s in states],
        [s.attempt for s in states],
        [s.base for s in states],
        [s.undo_attempt for s in states],
        [s.undo_base for s in states],
        [s.round for s in states],
        [s.round_base for s in states],
        [calls_to_json(s.calls) for s in states],
        [s.due_at for s in states],
        [s.worker for s in states],
        [None if s.result is None else storable(s.result, "result") for s in states],
        [s.error for s in states],
        [s.started_at for s in states],
        [s.completed_at for s in states],
        [s.undone_at for s in states],
        [flow_id for flow_id, _ in w.audits],
        [a.type for _, a in w.audits],
        [a.step for _, a in w.audits],
        [a.action for _, a in w.audits],
        [a.attempt for _, a in w.audits],
        [a.detail for _, a in w.audits],
        [a.who for _, a in w.audits],
        now,
        [flow_id for flow_id, _ in w.timers],
        [due_at for _, due_at in w.timers],
        w.timers_done,
        [m.id for m in w.messages],
        [m.type for m in w.messages],
        [m.subject for m in w.messages],
        [json.dumps(dict(m.extensions)) for m in w.messages],
        [m.data.decode() for m in w.messages],
        now + HOLD,
        w.sent,
    )
