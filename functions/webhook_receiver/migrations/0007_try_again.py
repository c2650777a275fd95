"""When a delivery that could not be fetched is tried again; a refused one is looked at, too."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"

OPEN = "CREATE INDEX hook_delivery_open ON hook_delivery (hook, delivered_at) WHERE state IN "


def upgrade() -> None:
    op.execute("ALTER TABLE hook_delivery ADD COLUMN retry_at timestamptz")
    op.execute("DROP INDEX hook_delivery_open")
    op.execute(OPEN + "('missing', 'unwanted', 'refused')")


def downgrade() -> None:
    op.execute("DROP INDEX hook_delivery_open")
    op.execute(OPEN + "('missing', 'unwanted')")
    op.execute("ALTER TABLE hook_delivery DROP COLUMN retry_at")
