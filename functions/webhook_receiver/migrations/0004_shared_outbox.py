"""Deliveries leave by the outbox that all functions share: `event` is the row there.

A receiver of the version before goes on working beside the new one. What it has left unsent, which
is what it keeps in `state` and `due_at`, the new one takes over (`tables.take_over`). Its columns
can go with the next release.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("ALTER TABLE delivery ADD COLUMN event bigint")
    op.execute("CREATE INDEX delivery_received ON delivery (received_at)")


def downgrade() -> None:
    op.execute("ALTER TABLE delivery DROP COLUMN event")
    op.execute("DROP INDEX delivery_received")
