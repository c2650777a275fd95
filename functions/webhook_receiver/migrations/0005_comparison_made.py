"""Since when something is compared: one that never came to its end is as old as that."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("ALTER TABLE comparison ADD COLUMN made_at timestamptz NOT NULL DEFAULT now()")


def downgrade() -> None:
    op.execute("ALTER TABLE comparison DROP COLUMN made_at")
