"""What is shown of a route's Jobs on one issue or pull request, and what should be."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE status_thread (
            repository text NOT NULL,
            issue integer NOT NULL,
            route text NOT NULL,
            jobs jsonb NOT NULL DEFAULT '{}',
            version bigint NOT NULL DEFAULT 1,
            shown_version bigint NOT NULL DEFAULT 0,
            comment_id bigint,
            comment_deleted boolean NOT NULL DEFAULT false,
            reacted boolean NOT NULL DEFAULT false,
            attempts integer NOT NULL DEFAULT 0,
            last_error text NOT NULL DEFAULT '',
            due_at timestamptz NOT NULL,
            leased_until timestamptz,
            changed_at timestamptz NOT NULL,
            PRIMARY KEY (repository, issue, route)
        )
        """
    )
    op.execute(
        """CREATE INDEX status_thread_due ON status_thread (due_at)
           WHERE shown_version < version AND NOT comment_deleted"""
    )
    op.execute("CREATE INDEX status_thread_old ON status_thread (changed_at)")


def downgrade() -> None:
    op.execute("DROP TABLE status_thread")
