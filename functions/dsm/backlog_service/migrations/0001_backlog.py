"""Tasks, stories, and which task serves which story."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE tasks (
            task_id text COLLATE "C" PRIMARY KEY,
            project_id text COLLATE "C" NOT NULL,
            title text NOT NULL,
            description text,
            status text NOT NULL DEFAULT 'unassigned',
            assigned_to text,
            sprint_id text,
            progress_percentage int NOT NULL DEFAULT 0
                CHECK (progress_percentage BETWEEN 0 AND 100),
            number bigint GENERATED ALWAYS AS IDENTITY,
            moved_at timestamptz NOT NULL DEFAULT '-infinity'
        )
        """
    )
    op.execute("CREATE INDEX tasks_of_project ON tasks (project_id, number)")
    op.execute("CREATE TABLE stories (id text PRIMARY KEY, description text NOT NULL)")
    op.execute(
        """
        CREATE TABLE story_tasks (
            story_id text NOT NULL,
            task_id text NOT NULL,
            PRIMARY KEY (story_id, task_id)
        )
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE story_tasks, stories, tasks")
