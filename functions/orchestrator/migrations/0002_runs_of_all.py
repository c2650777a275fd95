"""Runs of all orchestrations are listed by time, and those that wait for a user are counted."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        "CREATE INDEX orchestration_run_newest ON orchestration_run (started_at DESC, flow_id DESC)"
    )
    op.execute(
        """CREATE INDEX orchestration_run_stuck ON orchestration_run (started_at DESC)
           WHERE status IN ('WAITING', 'UNDO_FAILED') OR paused_by IS NOT NULL"""
    )


def downgrade() -> None:
    op.execute("DROP INDEX orchestration_run_newest, orchestration_run_stuck")
