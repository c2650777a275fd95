"""Simulated working days: what was drawn, before it was done."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE scrums (
            sprint_id text COLLATE "C" NOT NULL,
            request text NOT NULL,
            moves jsonb NOT NULL,
            drawn_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (sprint_id, request)
        )
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE scrums")
