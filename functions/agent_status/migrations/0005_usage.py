"""When a comment was edited, whether a change presses, and what Jobs have used on an issue."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE status_thread
            ADD COLUMN shown_at timestamptz,
            ADD COLUMN pressing boolean NOT NULL DEFAULT false
        """
    )
    op.execute(
        """
        CREATE TABLE issue_usage (
            job_id text PRIMARY KEY,
            repository text NOT NULL,
            issue integer NOT NULL,
            usage jsonb NOT NULL,
            used_at timestamptz NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX issue_usage_of ON issue_usage (repository, issue)")
    op.execute("CREATE INDEX issue_usage_old ON issue_usage (used_at)")


def downgrade() -> None:
    op.execute("DROP TABLE issue_usage")
    op.execute("ALTER TABLE status_thread DROP COLUMN pressing, DROP COLUMN shown_at")
