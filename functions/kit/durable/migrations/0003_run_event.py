"""Which event a run handled: its key in the inbox is often another, such as a schedule's minute."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("ALTER TABLE run ADD COLUMN event_source text, ADD COLUMN event_id text")
    # Asked for equality only; a hash takes an id of any length.
    op.execute("CREATE INDEX run_event ON run USING hash (event_id)")


def downgrade() -> None:
    op.execute("ALTER TABLE run DROP COLUMN event_source, DROP COLUMN event_id")
