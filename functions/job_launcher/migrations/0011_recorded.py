"""A Job that was recorded only has a state of its own."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"

_BEFORE = "'queued', 'starting', 'running', 'succeeded', 'failed', 'cancelled'"


def upgrade() -> None:
    op.execute("ALTER TABLE job DROP CONSTRAINT job_state_check")
    op.execute(
        f"ALTER TABLE job ADD CONSTRAINT job_state_check CHECK (state IN ({_BEFORE}, 'recorded'))"
    )
    op.execute("UPDATE job SET state = 'recorded' WHERE ending->>'outcome' = 'recorded'")


def downgrade() -> None:
    op.execute("UPDATE job SET state = 'succeeded' WHERE state = 'recorded'")
    op.execute("ALTER TABLE job DROP CONSTRAINT job_state_check")
    op.execute(f"ALTER TABLE job ADD CONSTRAINT job_state_check CHECK (state IN ({_BEFORE}))")
