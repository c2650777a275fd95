"""Since when a schedule is paused by failures, until a run of it is good again."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("ALTER TABLE schedule ADD COLUMN failing_since timestamptz")
