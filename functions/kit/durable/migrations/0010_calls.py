"""The outbox holds calls of services as well: only their own function knows how to make them."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.execute("ALTER TABLE outbox_event ADD COLUMN is_call boolean NOT NULL DEFAULT false")


def downgrade() -> None:
    op.execute("DELETE FROM outbox_event WHERE is_call")
    op.execute("ALTER TABLE outbox_event DROP COLUMN is_call")
