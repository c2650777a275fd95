"""Notes and retrospectives."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE chronicle_notes (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            event_type text NOT NULL,
            project_id text COLLATE "C" NOT NULL,
            sprint_id text COLLATE "C",
            report_date date,
            note_content text,
            summary text,
            summary_metrics jsonb,
            reports jsonb,
            additional_data jsonb,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp()
        )
        """
    )
    # Exactly one report for a sprint and day, whatever is delivered again.
    op.execute(
        """CREATE UNIQUE INDEX one_report_a_day ON chronicle_notes (sprint_id, report_date)
           WHERE event_type = 'daily_scrum_report'"""
    )
    op.execute(
        """CREATE INDEX notes_of_project
           ON chronicle_notes (event_type, project_id, report_date, created_at)"""
    )
    op.execute(
        """
        CREATE TABLE sprint_retrospectives (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            sprint_id text COLLATE "C" NOT NULL UNIQUE,
            project_id text COLLATE "C" NOT NULL,
            content jsonb NOT NULL,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp()
        )
        """
    )
    op.execute("CREATE INDEX retrospectives_of_project ON sprint_retrospectives (project_id)")


def downgrade() -> None:
    op.execute("DROP TABLE sprint_retrospectives, chronicle_notes")
