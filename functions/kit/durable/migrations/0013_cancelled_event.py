"""Events whose runs are to stop, as a later one replaces them."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE cancelled_event (
            source text NOT NULL,
            id text NOT NULL,
            reason text NOT NULL,
            at timestamptz NOT NULL,
            PRIMARY KEY (source, id)
        )
        """
    )
    op.execute("CREATE INDEX cancelled_event_oldest ON cancelled_event (at)")


def downgrade() -> None:
    op.execute("DROP TABLE cancelled_event")
