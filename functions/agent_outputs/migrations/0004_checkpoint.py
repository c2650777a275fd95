"""What is kept of Jobs at work, and of those that ended without having posted."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("ALTER TABLE agent_output ADD COLUMN posted boolean NOT NULL DEFAULT true")
    op.execute("ALTER TABLE agent_output ADD COLUMN session text NOT NULL DEFAULT ''")
    op.execute(
        """
        CREATE TABLE agent_checkpoint (
            job_id text PRIMARY KEY,
            bundle bytea,
            session text NOT NULL,
            taken_at timestamptz NOT NULL
        )
        """
    )
    op.execute("ALTER TABLE agent_checkpoint ALTER COLUMN bundle SET STORAGE EXTERNAL")
    op.execute("CREATE INDEX agent_checkpoint_old ON agent_checkpoint (taken_at)")


def downgrade() -> None:
    op.execute("DROP TABLE agent_checkpoint")
    op.execute("ALTER TABLE agent_output DROP COLUMN session, DROP COLUMN posted")
