"""Looks that cost what is going on, and not what has been: unfinished runs, and old ones."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute(
        """CREATE INDEX orchestration_run_unfinished ON orchestration_run (status, since)
           WHERE status IN ('WAITING', 'IN_PROGRESS', 'UNDOING')"""
    )
    op.execute(
        """CREATE INDEX orchestration_run_completed ON orchestration_run (completed_at)
           WHERE completed_at IS NOT NULL"""
    )


def downgrade() -> None:
    op.execute("DROP INDEX orchestration_run_unfinished")
    op.execute("DROP INDEX orchestration_run_completed")
