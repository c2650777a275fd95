"""The user who requested what a run handled, where one did."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("ALTER TABLE run ADD COLUMN requested_by text")


def downgrade() -> None:
    op.execute("ALTER TABLE run DROP COLUMN requested_by")
