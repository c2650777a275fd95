"""Decisions about projects, and whether the sample data is there."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE decisions (
            project_id text COLLATE "C" NOT NULL,
            request text NOT NULL,
            attempt int NOT NULL,
            decision jsonb NOT NULL,
            decided_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (project_id, request, attempt)
        )
        """
    )
    op.execute("CREATE INDEX decisions_newest ON decisions (project_id, decided_at)")
    op.execute(
        """
        CREATE TABLE sample_data (
            name text PRIMARY KEY,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp()
        )
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE sample_data, decisions")
