"""The digest of a signed body: the same body under another id is the same delivery."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("ALTER TABLE delivery ADD COLUMN body_digest bytea")
    op.execute("CREATE UNIQUE INDEX delivery_body ON delivery (body_digest, source)")


def downgrade() -> None:
    op.execute("ALTER TABLE delivery DROP COLUMN body_digest")
