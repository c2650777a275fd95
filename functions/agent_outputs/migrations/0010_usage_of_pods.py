"""What each pod of a Job has used: their sum is the Job's."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE agent_usage (
            job_id text PRIMARY KEY,
            pods jsonb NOT NULL,
            reported_at timestamptz NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX agent_usage_old ON agent_usage (reported_at)")
    # Sidecars of before report without the name of their pod.
    op.execute(
        """INSERT INTO agent_usage
           SELECT job_id, jsonb_build_object('', usage), taken_at FROM agent_checkpoint
           UNION ALL
           SELECT job_id, jsonb_build_object('', usage), received_at FROM agent_output
           WHERE state = 'received' AND posted
           ON CONFLICT DO NOTHING"""
    )


def downgrade() -> None:
    op.execute("DROP TABLE agent_usage")
