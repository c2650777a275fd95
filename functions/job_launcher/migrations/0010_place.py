"""The place of a request in its queue, as it was last reported."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.execute("ALTER TABLE job ADD COLUMN place integer")


def downgrade() -> None:
    op.execute("ALTER TABLE job DROP COLUMN place")
