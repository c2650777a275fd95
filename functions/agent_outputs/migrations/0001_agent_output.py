"""What agents have left: one row for each Job."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE agent_output (
            job_id text PRIMARY KEY,
            position bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
            repository text NOT NULL,
            task_id text NOT NULL,
            job_grant jsonb NOT NULL,
            outputs text,
            bundle bytea,
            problems jsonb NOT NULL,
            state text NOT NULL DEFAULT 'received'
                CHECK (state IN ('received', 'delivered', 'undelivered')),
            result jsonb,
            attempts integer NOT NULL DEFAULT 0,
            last_error text NOT NULL DEFAULT '',
            received_at timestamptz NOT NULL,
            due_at timestamptz NOT NULL,
            leased_until timestamptz,
            settled_at timestamptz
        )
        """
    )
    # A bundle is compressed already.
    op.execute("ALTER TABLE agent_output ALTER COLUMN bundle SET STORAGE EXTERNAL")
    op.execute("CREATE INDEX agent_output_due ON agent_output (due_at) WHERE state = 'received'")
    op.execute("CREATE INDEX agent_output_old ON agent_output (settled_at)")
    op.execute("CREATE INDEX agent_output_task ON agent_output (repository, task_id, position)")


def downgrade() -> None:
    op.execute("DROP TABLE agent_output")
