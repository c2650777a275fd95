"""Approvals: what a Job waits for, until when, and what users have decided."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE job
            ADD COLUMN approval text CHECK (approval IN ('start', 'outputs')),
            ADD COLUMN approval_until timestamptz,
            ADD COLUMN approval_details jsonb NOT NULL DEFAULT '{}',
            ADD COLUMN approvals jsonb NOT NULL DEFAULT '[]',
            ADD COLUMN waits_since timestamptz NOT NULL DEFAULT now()
        """
    )
    op.execute("UPDATE job SET waits_since = queued_at")
    op.execute("CREATE INDEX job_approval ON job (approval_until) WHERE approval IS NOT NULL")


def downgrade() -> None:
    op.execute("DROP INDEX job_approval")
    op.execute(
        """
        ALTER TABLE job
            DROP COLUMN approval, DROP COLUMN approval_until, DROP COLUMN approval_details,
            DROP COLUMN approvals, DROP COLUMN waits_since
        """
    )
