"""Since when a Job has no pod because its queue has suspended it, and for how long it had none."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.execute(
        """ALTER TABLE job ADD COLUMN paused_at timestamptz,
           ADD COLUMN paused_s float8 NOT NULL DEFAULT 0"""
    )


def downgrade() -> None:
    op.execute("ALTER TABLE job DROP COLUMN paused_s, DROP COLUMN paused_at")
