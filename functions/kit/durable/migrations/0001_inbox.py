"""The inbox, the journal of steps, and the record of runs.

Answers are `json`, which keeps their text: a repeat is the same bytes.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE inbox (
            function text NOT NULL,
            source text NOT NULL,
            id text NOT NULL,
            type text NOT NULL,
            received_at timestamptz NOT NULL DEFAULT now(),
            answer json,
            PRIMARY KEY (function, source, id)
        )
        """
    )
    op.execute("CREATE INDEX inbox_age ON inbox (function, received_at)")
    op.execute(
        """
        CREATE TABLE journal (
            function text NOT NULL,
            key text NOT NULL,
            step text NOT NULL,
            result json,
            took_ms double precision NOT NULL,
            done_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (function, key, step)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE run (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            function text NOT NULL,
            source text NOT NULL,
            id text NOT NULL,
            type text NOT NULL,
            ended_at timestamptz NOT NULL DEFAULT now(),
            took_ms double precision NOT NULL,
            outcome text NOT NULL CHECK (outcome IN ('ok', 'failed')),
            detail text
        )
        """
    )
    op.execute("CREATE INDEX run_newest ON run (function, ended_at DESC, number DESC)")


def downgrade() -> None:
    op.execute("DROP TABLE run, journal, inbox")
