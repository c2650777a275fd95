"""The cycles that were begun, and how far each has come."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE cycle (
            project_id text NOT NULL,
            sprint_id text NOT NULL,  -- empty: the cycle that starts a project's first sprint
            state text NOT NULL CHECK (state IN ('open', 'failed', 'completed')),
            step text,
            detail text,
            begun_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (project_id, sprint_id)
        )
        """
    )
    op.execute("CREATE INDEX cycle_unfinished ON cycle (updated_at) WHERE state <> 'completed'")


def downgrade() -> None:
    op.execute("DROP TABLE cycle")
