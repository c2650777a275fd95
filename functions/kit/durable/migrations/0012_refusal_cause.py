"""What the broker has answered when it refused an event."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.execute("ALTER TABLE outbox_event ADD COLUMN cause text")


def downgrade() -> None:
    op.execute("ALTER TABLE outbox_event DROP COLUMN cause")
