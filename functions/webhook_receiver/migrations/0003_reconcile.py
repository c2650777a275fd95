"""What is compared with a source, how far, and the deliveries that GitHub's hooks have made."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE comparison (
            name text PRIMARY KEY,
            due_at timestamptz NOT NULL,
            checked_at timestamptz,
            problem text,
            memory jsonb NOT NULL DEFAULT '{}'
        )
        """
    )
    op.execute(
        """
        CREATE TABLE hook_delivery (
            hook text NOT NULL,
            guid text NOT NULL,
            event text NOT NULL,
            action text,
            attempt bigint NOT NULL,
            delivered_at timestamptz NOT NULL,
            state text NOT NULL CHECK (state IN
                ('missing', 'unwanted', 'here', 'fetched', 'refused', 'gone')),
            reason text,
            PRIMARY KEY (hook, guid)
        )
        """
    )
    op.execute("CREATE INDEX hook_delivery_made ON hook_delivery (delivered_at)")
    op.execute(
        """CREATE INDEX hook_delivery_open ON hook_delivery (hook, delivered_at)
           WHERE state IN ('missing', 'unwanted')"""
    )
    op.execute(
        """CREATE INDEX delivery_labelled
           ON delivery ((attributes ->> 'source'), (attributes ->> 'subject'))
           WHERE type = 'com.github.issue.labeled'"""
    )


def downgrade() -> None:
    op.execute("DROP INDEX delivery_labelled")
    op.execute("DROP TABLE hook_delivery")
    op.execute("DROP TABLE comparison")
