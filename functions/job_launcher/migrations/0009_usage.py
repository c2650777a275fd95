"""What Jobs may use of their groups' budgets, and what they have used."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute("ALTER TABLE job ADD COLUMN granted jsonb, ADD COLUMN usage jsonb")
    op.execute("UPDATE job SET usage = coalesce(agent->'usage', approval_details->'usage')")


def downgrade() -> None:
    op.execute("ALTER TABLE job DROP COLUMN usage, DROP COLUMN granted")
