"""Outputs that wait for a user's approval."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE agent_output
            ADD COLUMN approved_at timestamptz,
            DROP CONSTRAINT agent_output_state_check,
            ADD CONSTRAINT agent_output_state_check
                CHECK (state IN ('received', 'waiting', 'delivered', 'undelivered'))
        """
    )


def downgrade() -> None:
    op.execute(
        """
        ALTER TABLE agent_output
            DROP COLUMN approved_at,
            DROP CONSTRAINT agent_output_state_check,
            ADD CONSTRAINT agent_output_state_check
                CHECK (state IN ('received', 'delivered', 'undelivered'))
        """
    )
