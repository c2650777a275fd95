"""An event that the broker refused stays on record once the dead letters have it.

Messages are seldom read back, so compressing them costs more than the disk that it saves.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("ALTER TABLE outbox_event ADD COLUMN dead_lettered_at timestamptz")
    op.execute("ALTER TABLE outbox_event ALTER COLUMN message SET STORAGE EXTERNAL")
    op.execute("DROP INDEX outbox_event_due")
    op.execute(
        """CREATE INDEX outbox_event_due ON outbox_event (leased_until NULLS FIRST)
           WHERE dead_lettered_at IS NULL"""
    )
    op.execute(
        """CREATE INDEX outbox_event_refused ON outbox_event (dead_lettered_at)
           WHERE dead_lettered_at IS NOT NULL"""
    )


def downgrade() -> None:
    op.execute("DELETE FROM outbox_event WHERE dead_lettered_at IS NOT NULL")
    op.execute("ALTER TABLE outbox_event DROP COLUMN dead_lettered_at")
    op.execute("ALTER TABLE outbox_event ALTER COLUMN message SET STORAGE EXTENDED")
    op.execute("CREATE INDEX outbox_event_due ON outbox_event (leased_until NULLS FIRST)")
