"""Was there a workspace, in which an agent could have worked?"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("ALTER TABLE agent_output ADD COLUMN prepared boolean NOT NULL DEFAULT true")


def downgrade() -> None:
    op.execute("ALTER TABLE agent_output DROP COLUMN prepared")
