"""What came of an agent's outputs, as agent-outputs reports it."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("ALTER TABLE job ADD COLUMN agent jsonb")


def downgrade() -> None:
    op.execute("ALTER TABLE job DROP COLUMN agent")
