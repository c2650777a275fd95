"""Budgets: which requests wait for one, and of which groups most is used."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("ALTER TABLE job ADD COLUMN held_until timestamptz")
    op.execute("CREATE INDEX job_launched ON job (launched_at)")
    op.execute(
        """
        CREATE TABLE budget_warning (
            group_name text NOT NULL,
            unit text NOT NULL,
            day_ends_at timestamptz NOT NULL,
            PRIMARY KEY (group_name, unit, day_ends_at)
        )
        """
    )
    op.execute("CREATE INDEX budget_warning_old ON budget_warning (day_ends_at)")


def downgrade() -> None:
    op.execute("DROP TABLE budget_warning")
    op.execute("DROP INDEX job_launched")
    op.execute("ALTER TABLE job DROP COLUMN held_until")
