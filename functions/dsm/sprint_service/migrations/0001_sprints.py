"""Sprints, their tasks, and the messages to others that are not sent yet."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE sprints (
            sprint_id text COLLATE "C" PRIMARY KEY,
            project_id text COLLATE "C" NOT NULL,
            sprint_name text NOT NULL,
            start_date date NOT NULL,
            end_date date NOT NULL,
            duration_weeks int NOT NULL,
            status text NOT NULL,
            number bigint GENERATED ALWAYS AS IDENTITY,
            retrospective_id text
        )
        """
    )
    op.execute("CREATE INDEX sprints_of_project ON sprints (project_id, start_date, number)")
    op.execute(
        """CREATE UNIQUE INDEX one_sprint_in_progress ON sprints (project_id)
           WHERE status = 'in_progress'"""
    )
    # A task that a sprint did not finish keeps its row there and gets another in the next sprint.
    op.execute(
        """
        CREATE TABLE tasks (
            sprint_id text COLLATE "C" NOT NULL REFERENCES sprints,
            task_id text COLLATE "C" NOT NULL,
            title text NOT NULL,
            status text NOT NULL,
            progress_percentage int NOT NULL CHECK (progress_percentage BETWEEN 0 AND 100),
            assigned_to text,
            number bigint GENERATED ALWAYS AS IDENTITY,
            open boolean NOT NULL DEFAULT true,
            PRIMARY KEY (sprint_id, task_id)
        )
        """
    )
    op.execute("CREATE UNIQUE INDEX one_open_sprint_per_task ON tasks (task_id) WHERE open")
    op.execute("CREATE INDEX tasks_by_id ON tasks (task_id)")
    op.execute(
        """
        CREATE TABLE outbox (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            id uuid NOT NULL DEFAULT gen_random_uuid(),
            request text NOT NULL,
            project_id text COLLATE "C" NOT NULL,
            sprint_id text,
            kind text NOT NULL,
            body jsonb NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now()
        )
        """
    )
    op.execute("CREATE INDEX outbox_of_project ON outbox (project_id, number)")


def downgrade() -> None:
    op.execute("DROP TABLE outbox, tasks, sprints")
