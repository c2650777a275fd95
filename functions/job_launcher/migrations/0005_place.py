"""An index for the Jobs of an issue or pull request."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("CREATE INDEX job_place ON job ((request->>'github'), (request->>'issue'))")


def downgrade() -> None:
    op.execute("DROP INDEX job_place")
