"""Backfills: what a user had run again, who that was, and how far it has come."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE backfill (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            schedule text NOT NULL,
            since timestamptz NOT NULL,
            before timestamptz NOT NULL,
            which text NOT NULL,
            at_once int NOT NULL,
            state text NOT NULL CHECK (state IN ('running', 'paused', 'done', 'cancelled')),
            requested_by text NOT NULL,
            made_at timestamptz NOT NULL,
            changed_at timestamptz NOT NULL,
            changed_by text NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX backfill_running ON backfill (number) WHERE state = 'running'")
    op.execute(
        """
        CREATE TABLE backfill_item (
            backfill bigint NOT NULL REFERENCES backfill ON DELETE CASCADE,
            nominal timestamptz NOT NULL,
            sent boolean NOT NULL DEFAULT false,
            PRIMARY KEY (backfill, nominal)
        )
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE backfill_item, backfill")
