"""When a request was asked for, what it was asked with, how it was refused; cancellations."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE job
            ADD COLUMN asked_at timestamptz NOT NULL DEFAULT now(),
            ADD COLUMN refusals integer NOT NULL DEFAULT 0,
            ADD COLUMN missed_at timestamptz,
            ADD COLUMN asked jsonb
        """
    )
    op.execute("UPDATE job SET asked_at = queued_at")
    op.execute("CREATE INDEX job_superseded ON job (supersede, asked_at) WHERE supersede <> ''")
    op.execute(
        """
        CREATE TABLE cancellation (
            task_id text PRIMARY KEY,
            reason text NOT NULL,
            cancelled_at timestamptz NOT NULL
        )
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE cancellation")
    op.execute("DROP INDEX job_superseded")
    op.execute(
        """
        ALTER TABLE job
            DROP COLUMN asked_at, DROP COLUMN refusals, DROP COLUMN missed_at, DROP COLUMN asked
        """
    )
