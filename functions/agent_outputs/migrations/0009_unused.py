"""Which outputs have a bundle, and which name an artifact: most rows have neither any more."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute(
        """CREATE INDEX agent_output_kept ON agent_output (settled_at)
           WHERE artifact IS NOT NULL OR bundle IS NOT NULL"""
    )
    op.execute(
        "CREATE INDEX agent_output_artifact ON agent_output (artifact) WHERE artifact IS NOT NULL"
    )


def downgrade() -> None:
    op.execute("DROP INDEX agent_output_artifact, agent_output_kept")
