"""Replies to users: refusals, and answers to commands."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("ALTER TABLE status_thread RENAME COLUMN refusals TO replies")
    op.execute("UPDATE status_thread SET replies = '[]'")


def downgrade() -> None:
    op.execute("ALTER TABLE status_thread RENAME COLUMN replies TO refusals")
