"""What became of each attempt, instead of a bare "took effect": who may have to undo a step."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("ALTER TABLE orchestration_step_run ADD calls jsonb NOT NULL DEFAULT '[]'")
    # Of earlier attempts nothing is known; the latest one tells what it can.
    op.execute(
        """UPDATE orchestration_step_run SET calls = (
               SELECT coalesce(jsonb_agg(call), '[]') FROM (VALUES
                   (attempt > round_base, jsonb_build_array('DO', attempt, worker_service,
                       CASE WHEN effect THEN 'SUCCESS' WHEN status = 'UNDO_SUCCESS' THEN 'UNDONE'
                            WHEN status = 'IN_PROGRESS' THEN 'SENT' ELSE 'FAILED' END)),
                   (status = 'UNDOING', jsonb_build_array('UNDO', undo_attempt, worker_service,
                       'SENT'))
               ) AS given (there, call) WHERE there)
           WHERE attempt > 0"""
    )
    op.execute("ALTER TABLE orchestration_step_run DROP effect")


def downgrade() -> None:
    op.execute("ALTER TABLE orchestration_step_run ADD effect boolean NOT NULL DEFAULT false")
    op.execute(
        """UPDATE orchestration_step_run
           SET effect = calls @? 'strict $[*] ? (@[0] == "DO" && @[3] == "SUCCESS")'"""
    )
    op.execute("ALTER TABLE orchestration_step_run DROP calls")
