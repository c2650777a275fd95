"""Events leave by the outbox that all functions share; what was not sent yet moves there.

The old table goes: what an older process would still write
to it would never be sent. It answers 503
instead, and its broker comes again.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute(
        """INSERT INTO outbox_event (function, message, created_at)
           SELECT 'orchestrator', jsonb_build_object(
                   'specversion', '1.0', 'id', id, 'source', '/functions/orchestrator',
                   'type', type, 'subject', subject,
                   'time', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                   'datacontenttype', 'application/json', 'data', data::jsonb
               ) || extensions::jsonb, at
           FROM orchestration_outbox ORDER BY at"""
    )
    op.execute("DROP TABLE orchestration_outbox")


def downgrade() -> None:
    op.execute(
        """CREATE TABLE orchestration_outbox (
            id uuid PRIMARY KEY,
            type text NOT NULL,
            subject text NOT NULL,
            at timestamptz NOT NULL,
            extensions text NOT NULL,
            data text NOT NULL,
            held_until timestamptz NOT NULL
        )"""
    )
