"""How many attempts in a row ended with their process."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("ALTER TABLE agent_output ADD COLUMN unended integer NOT NULL DEFAULT 0")


def downgrade() -> None:
    op.execute("ALTER TABLE agent_output DROP COLUMN unended")
