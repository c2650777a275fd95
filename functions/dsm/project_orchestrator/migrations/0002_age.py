"""What is old is found by an index."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("CREATE INDEX decisions_age ON decisions (decided_at)")


def downgrade() -> None:
    op.execute("DROP INDEX decisions_age")
