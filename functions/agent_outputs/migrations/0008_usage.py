"""What Jobs have used, as their agents' usage files have it."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("ALTER TABLE agent_output ADD COLUMN usage jsonb NOT NULL DEFAULT '{}'")
    op.execute("ALTER TABLE agent_checkpoint ADD COLUMN usage jsonb NOT NULL DEFAULT '{}'")


def downgrade() -> None:
    op.execute("ALTER TABLE agent_checkpoint DROP COLUMN usage")
    op.execute("ALTER TABLE agent_output DROP COLUMN usage")
