"""A lease for whoever makes a Job, and the columns of a request under the names of today."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("ALTER TABLE job ADD COLUMN launching_until timestamptz")
    op.execute("ALTER TABLE job RENAME COLUMN asked_at TO requested_at")
    op.execute("ALTER TABLE job RENAME COLUMN asked TO source_event")


def downgrade() -> None:
    op.execute("ALTER TABLE job RENAME COLUMN source_event TO asked")
    op.execute("ALTER TABLE job RENAME COLUMN requested_at TO asked_at")
    op.execute("ALTER TABLE job DROP COLUMN launching_until")
