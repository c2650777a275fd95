"""What a client requested under an Idempotency-Key: the same key for something else is refused."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("ALTER TABLE inbox ADD COLUMN digest text")


def downgrade() -> None:
    op.execute("ALTER TABLE inbox DROP COLUMN digest")
