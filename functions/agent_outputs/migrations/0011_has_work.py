"""Of which Jobs work is kept, and not only what their agents keep for themselves.

NULL in rows of before, and of processes of before: there all that is kept is work.
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    for table in ("agent_output", "agent_checkpoint"):
        op.execute(f"ALTER TABLE {table} ADD COLUMN has_work boolean")


def downgrade() -> None:
    op.execute("ALTER TABLE agent_checkpoint DROP COLUMN has_work")
    op.execute("ALTER TABLE agent_output DROP COLUMN has_work")
