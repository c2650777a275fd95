"""Orchestrations, their workers, their runs, and what the orchestrator needs to keep them going.

No foreign keys on the tables that every step writes: the orchestrator locks a run's row before it
touches anything that belongs to it.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

TABLES = (
    """
    CREATE TABLE orchestration_template (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        orch_name text NOT NULL,
        version integer NOT NULL,
        current boolean NOT NULL,
        type text NOT NULL CHECK (type IN ('sequential', 'simultaneous')),
        initiator_service text NOT NULL,
        status text NOT NULL CHECK (status IN ('SUCCESS', 'PENDING', 'FAILED')),
        failure_reason text,
        definition jsonb NOT NULL,
        created_at timestamptz NOT NULL,
        last_updated timestamptz NOT NULL,
        UNIQUE (orch_name, version)
    )
    """,
    "CREATE UNIQUE INDEX ON orchestration_template (orch_name) WHERE current",
    """
    CREATE TABLE orchestration_step_template (
        template_id bigint NOT NULL REFERENCES orchestration_template (id),
        step_name text NOT NULL,
        seq integer NOT NULL,
        object_type text NOT NULL,
        max_retries integer NOT NULL,
        depends_on text[] NOT NULL,
        PRIMARY KEY (template_id, step_name)
    )
    """,
    """
    CREATE TABLE worker_registration (
        orch_name text NOT NULL,
        step_name text NOT NULL,
        worker_service text NOT NULL,
        registered_at timestamptz NOT NULL,
        PRIMARY KEY (orch_name, step_name)
    )
    """,
    """
    CREATE TABLE registration_audit (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        orch_name text NOT NULL,
        as_role text NOT NULL,
        service_name text NOT NULL,
        status text NOT NULL,
        registered_steps jsonb NOT NULL,
        failed_steps jsonb NOT NULL,
        registered_at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX ON registration_audit (orch_name, id)",
    """
    CREATE TABLE orchestration_run (
        flow_id uuid PRIMARY KEY,
        template_id bigint NOT NULL,
        orch_name text NOT NULL,
        status text NOT NULL,
        since timestamptz NOT NULL,
        reason text,
        cause text,
        undo_to text,
        payload jsonb,
        payload_encoding text NOT NULL,
        correlation_id text NOT NULL,
        triggered_by text,
        paused_by text,
        paused_at timestamptz,
        deadline_at timestamptz,
        started_at timestamptz NOT NULL,
        completed_at timestamptz
    ) WITH (fillfactor = 80)
    """,
    "CREATE INDEX ON orchestration_run (orch_name, started_at DESC, flow_id)",
    "CREATE INDEX orchestration_run_waiting ON orchestration_run (orch_name)"
    " WHERE status = 'WAITING'",
    """
    CREATE TABLE orchestration_step_run (
        flow_id uuid NOT NULL,
        step_name text NOT NULL,
        seq integer NOT NULL,
        status text NOT NULL,
        attempt integer NOT NULL,
        base integer NOT NULL,
        undo_attempt integer NOT NULL,
        undo_base integer NOT NULL,
        round integer NOT NULL,
        round_base integer NOT NULL,
        effect boolean NOT NULL,
        due_at timestamptz,
        worker_service text,
        result jsonb,
        error_message text,
        started_at timestamptz,
        completed_at timestamptz,
        undone_at timestamptz,
        PRIMARY KEY (flow_id, step_name)
    ) WITH (fillfactor = 70)
    """,
    """
    CREATE TABLE orchestration_timer (
        flow_id uuid PRIMARY KEY,
        due_at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX ON orchestration_timer (due_at)",
    """
    CREATE TABLE orchestration_outbox (
        id uuid PRIMARY KEY,
        type text NOT NULL,
        subject text NOT NULL,
        at timestamptz NOT NULL,
        extensions text NOT NULL,
        data text NOT NULL,
        held_until timestamptz NOT NULL
    )
    """,
    """
    CREATE TABLE audit_event (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        flow_id uuid,
        type text NOT NULL,
        step_name text,
        action text,
        attempt integer,
        detail text NOT NULL,
        who text,
        at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX ON audit_event (flow_id, id)",
)


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)


def downgrade() -> None:
    op.execute(
        "DROP TABLE audit_event, orchestration_outbox, orchestration_timer,"
        " orchestration_step_run, orchestration_run, registration_audit, worker_registration,"
        " orchestration_step_template, orchestration_template"
    )
