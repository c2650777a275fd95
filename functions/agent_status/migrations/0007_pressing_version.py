"""Which version users wait for, and before when GitHub is not asked again."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE status_thread
            ADD COLUMN pressing_version bigint NOT NULL DEFAULT 0,
            ADD COLUMN not_before timestamptz NOT NULL DEFAULT '-infinity'
        """
    )
    op.execute(
        """
        UPDATE status_thread SET pressing_version = version,
            not_before = CASE WHEN attempts > 0 THEN due_at ELSE not_before END
        WHERE shown_version < version
        """
    )
    op.execute("ALTER TABLE status_thread DROP COLUMN pressing")


def downgrade() -> None:
    op.execute("ALTER TABLE status_thread ADD COLUMN pressing boolean NOT NULL DEFAULT false")
    op.execute("UPDATE status_thread SET pressing = pressing_version > shown_version")
    op.execute("ALTER TABLE status_thread DROP COLUMN pressing_version, DROP COLUMN not_before")
