"""The pull request of a Job, from the moment that it is open."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("ALTER TABLE agent_output ADD COLUMN opened jsonb")


def downgrade() -> None:
    op.execute("ALTER TABLE agent_output DROP COLUMN opened")
