"""A run's timer is a column of its row: no other row comes and goes with each run."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("ALTER TABLE orchestration_run ADD timer_at timestamptz")
    op.execute(
        """UPDATE orchestration_run run SET timer_at = due_at
           FROM orchestration_timer timer WHERE timer.flow_id = run.flow_id"""
    )
    op.execute(
        """CREATE INDEX orchestration_run_timer ON orchestration_run (timer_at, flow_id)
           WHERE timer_at IS NOT NULL"""
    )
    op.execute("DROP TABLE orchestration_timer")


def downgrade() -> None:
    op.execute(
        """CREATE TABLE orchestration_timer (
            flow_id uuid PRIMARY KEY,
            due_at timestamptz NOT NULL
        )"""
    )
    op.execute("CREATE INDEX ON orchestration_timer (due_at)")
    op.execute(
        """INSERT INTO orchestration_timer
           SELECT flow_id, timer_at FROM orchestration_run WHERE timer_at IS NOT NULL"""
    )
    op.execute("ALTER TABLE orchestration_run DROP timer_at")
