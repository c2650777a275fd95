"""Answers to runs that there never were are found by their age, to be deleted."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("CREATE INDEX audit_event_refused ON audit_event (at) WHERE type = 'ANSWER_REFUSED'")


def downgrade() -> None:
    op.execute("DROP INDEX audit_event_refused")
