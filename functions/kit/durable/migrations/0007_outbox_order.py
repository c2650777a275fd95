"""Events without a partition key have no order: the index by key need not hold them."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("DROP INDEX outbox_event_order")
    op.execute(
        """CREATE INDEX outbox_event_order ON outbox_event (partition_key, number)
           WHERE partition_key IS NOT NULL"""
    )


def downgrade() -> None:
    op.execute("DROP INDEX outbox_event_order")
    op.execute("CREATE INDEX outbox_event_order ON outbox_event (partition_key, number)")
