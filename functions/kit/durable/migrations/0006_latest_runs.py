"""Indexes for what is asked every few seconds: the newest run of each kind, and of each schedule.

Without them a scrape reads all runs that are kept. Retention asks for the age of steps.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("CREATE INDEX run_ok ON run (function, type, ended_at) WHERE outcome = 'ok'")
    op.execute(
        """
        CREATE INDEX run_failed ON run
            (function, type, coalesce(split_part(detail, ':', 1), ''), ended_at)
        WHERE outcome = 'failed'
        """
    )
    op.execute(
        """
        CREATE INDEX run_tick ON run (function, split_part(id, '@', 1), ended_at, number)
        WHERE type = 'dev.knative.sources.ping'
        """
    )
    op.execute("CREATE INDEX journal_age ON journal (function, done_at)")


def downgrade() -> None:
    op.execute("DROP INDEX run_ok, run_failed, run_tick, journal_age")
