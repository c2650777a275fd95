"""The ledger: schedules, the versions of what they say, and a row for each nominal time.

`revision` is the fence: whoever decides about a schedule has read one, and writes only while it
still stands. `total` holds what metrics count, as counting a year of ticks takes too long.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE schedule (
            name text PRIMARY KEY,
            source text NOT NULL,
            reconciled_until timestamptz NOT NULL,
            revision bigint NOT NULL DEFAULT 0,
            removed boolean NOT NULL DEFAULT false,
            problem text NOT NULL DEFAULT '',
            pause jsonb,
            failures_since timestamptz NOT NULL DEFAULT '-infinity'
        )
        """
    )
    op.execute(
        """
        CREATE TABLE schedule_version (
            schedule text NOT NULL REFERENCES schedule ON DELETE CASCADE,
            valid_from timestamptz NOT NULL,
            expression text NOT NULL,
            zone text NOT NULL,
            policy jsonb NOT NULL,
            data text NOT NULL,
            extensions jsonb NOT NULL,
            PRIMARY KEY (schedule, valid_from)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE tick (
            schedule text NOT NULL,
            nominal timestamptz NOT NULL,
            state text NOT NULL CHECK (state IN
                ('due', 'sent', 'running', 'done', 'failed', 'skipped', 'missed')),
            origin text NOT NULL CHECK (origin IN ('clock', 'catch-up', 'backfill', 'user')),
            cause text NOT NULL,
            reason text NOT NULL,
            due_at timestamptz NOT NULL,
            decided_at timestamptz NOT NULL,
            sent_at timestamptz,
            ended_at timestamptz,
            after_run bigint NOT NULL,
            function text,
            run bigint,
            requested_by text,
            PRIMARY KEY (schedule, nominal)
        )
        """
    )
    op.execute(
        """
        CREATE INDEX tick_open ON tick (schedule, nominal)
            WHERE state IN ('due', 'sent', 'running')
        """
    )
    op.execute("CREATE INDEX tick_failed ON tick (sent_at) WHERE state = 'failed'")
    op.execute("CREATE INDEX tick_age ON tick (nominal)")
    op.execute(
        """
        CREATE TABLE tick_total (
            state text NOT NULL,
            cause text NOT NULL,
            ticks bigint NOT NULL,
            PRIMARY KEY (state, cause)
        )
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE tick_total, tick, schedule_version, schedule")
