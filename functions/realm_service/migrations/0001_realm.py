"""The realms."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE realm (
            id uuid PRIMARY KEY,
            tenant_id text NOT NULL,
            name text NOT NULL UNIQUE,
            effect_key text NOT NULL UNIQUE,
            created_at timestamptz NOT NULL DEFAULT now()
        )
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE realm")
