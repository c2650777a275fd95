"""A redriven event leaves by the outbox: `event` is its row there."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("ALTER TABLE redrive ADD COLUMN event bigint")
    # It is unknown if these were sent; sending them again is harmless.
    op.execute("UPDATE letter SET state = 'open' WHERE state = 'redriving'")
    op.execute("CREATE INDEX redrive_open ON redrive (event) WHERE ended_at IS NULL")


def downgrade() -> None:
    op.execute("ALTER TABLE redrive DROP COLUMN event")
