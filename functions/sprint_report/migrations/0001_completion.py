"""The sprints that were reported as complete."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE completion (
            sprint_id text PRIMARY KEY,
            project_id text NOT NULL,
            total_tasks int NOT NULL,
            reported_at timestamptz NOT NULL DEFAULT now()
        )
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE completion")
