"""An index for what is forgotten each minute."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("CREATE INDEX job_ended ON job (ended_at) WHERE ended_at IS NOT NULL")


def downgrade() -> None:
    op.execute("DROP INDEX job_ended")
