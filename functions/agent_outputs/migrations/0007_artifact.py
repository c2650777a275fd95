"""Bundles beside the rows that name them."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE agent_artifact (
            name text PRIMARY KEY,
            content bytea NOT NULL,
            stored_at timestamptz NOT NULL
        )
        """
    )
    # A bundle is compressed already.
    op.execute("ALTER TABLE agent_artifact ALTER COLUMN content SET STORAGE EXTERNAL")
    op.execute("CREATE INDEX agent_artifact_old ON agent_artifact (stored_at)")
    # Rows of before have theirs in `bundle`.
    op.execute("ALTER TABLE agent_output ADD COLUMN artifact text")
    op.execute("ALTER TABLE agent_checkpoint ADD COLUMN artifact text")


def downgrade() -> None:
    op.execute("ALTER TABLE agent_checkpoint DROP COLUMN artifact")
    op.execute("ALTER TABLE agent_output DROP COLUMN artifact")
    op.execute("DROP TABLE agent_artifact")
