"""Dead letters, and their redrives."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE letter (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            seen bigint NOT NULL,
            source text NOT NULL,
            id text NOT NULL,
            dest text NOT NULL,
            type text NOT NULL,
            subject text,
            attributes bytea NOT NULL,
            data bytea NOT NULL,
            function text,
            code integer,
            detail text,
            arrival text,
            first_at timestamptz NOT NULL,
            last_at timestamptz NOT NULL,
            count integer NOT NULL DEFAULT 1,
            state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'redriving', 'redriven')),
            claimed_at timestamptz,
            UNIQUE (source, id, dest)
        )
        """
    )
    op.execute("CREATE SEQUENCE letter_seen OWNED BY letter.seen")
    op.execute("CREATE UNIQUE INDEX letter_newest ON letter (seen)")
    op.execute("CREATE INDEX letter_of ON letter (state, function, type, seen)")
    op.execute(
        """
        CREATE TABLE redrive (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            letter bigint NOT NULL REFERENCES letter,
            who text NOT NULL,
            began_at timestamptz NOT NULL DEFAULT now(),
            ended_at timestamptz,
            outcome text CHECK (outcome IN ('sent', 'failed', 'returned')),
            detail text
        )
        """
    )
    op.execute("CREATE INDEX redrive_of ON redrive (letter, number)")


def downgrade() -> None:
    op.execute("DROP TABLE redrive, letter")
