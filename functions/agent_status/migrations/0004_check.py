"""The check run of a pull request's newest Job, and what it shows."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE status_thread
            ADD COLUMN check_job text NOT NULL DEFAULT '',
            ADD COLUMN check_id bigint,
            ADD COLUMN check_shown jsonb
        """
    )
    op.execute("DROP INDEX status_thread_due")
    op.execute(
        "CREATE INDEX status_thread_due ON status_thread (due_at) WHERE shown_version < version"
    )


def downgrade() -> None:
    op.execute("DROP INDEX status_thread_due")
    op.execute(
        """CREATE INDEX status_thread_due ON status_thread (due_at)
           WHERE shown_version < version AND NOT comment_deleted"""
    )
    op.execute(
        """
        ALTER TABLE status_thread
            DROP COLUMN check_job, DROP COLUMN check_id, DROP COLUMN check_shown
        """
    )
