"""When the place of a request was last reported."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.execute("ALTER TABLE job ADD COLUMN placed_at timestamptz NOT NULL DEFAULT '-infinity'")


def downgrade() -> None:
    op.execute("ALTER TABLE job DROP COLUMN placed_at")
