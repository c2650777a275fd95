"""One row for each request: the claim, the queue, and what became of it."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE job (
            id text PRIMARY KEY,
            position bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
            kind text NOT NULL,
            task_id text NOT NULL,
            service text NOT NULL,
            group_name text NOT NULL,
            supersede text NOT NULL,
            request jsonb NOT NULL,
            state text NOT NULL DEFAULT 'queued' CHECK (
                state IN ('queued', 'starting', 'running', 'succeeded', 'failed', 'cancelled')
            ),
            reason text NOT NULL DEFAULT '',
            tries integer NOT NULL DEFAULT 0,
            not_before timestamptz,
            cancel text,
            superseded_by text,
            queued_at timestamptz NOT NULL,
            launched_at timestamptz,
            started_at timestamptz,
            ended_at timestamptz,
            ending jsonb NOT NULL DEFAULT '{}'
        )
        """
    )
    op.execute(
        """
        CREATE INDEX job_open ON job (position)
        WHERE state IN ('queued', 'starting', 'running')
        """
    )
    op.execute("CREATE INDEX job_task ON job (task_id, position)")
    op.execute(
        """
        CREATE INDEX job_supersede ON job (supersede)
        WHERE state IN ('queued', 'starting', 'running') AND supersede <> ''
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE job")
