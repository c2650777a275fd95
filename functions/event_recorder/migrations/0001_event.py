"""The table of recorded events."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    # A B-tree limits the length of a key, producers do not: the unique key is a digest, and the
    # columns that are compared by equality have hash indexes.
    op.execute(
        """
        CREATE TABLE event (
            seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            digest bytea NOT NULL UNIQUE,
            source text NOT NULL,
            id text NOT NULL,
            type text NOT NULL,
            subject text,
            correlation text,
            arrived timestamptz NOT NULL,
            recorded_at timestamptz NOT NULL,
            attributes json NOT NULL,
            data bytea NOT NULL,
            size bigint NOT NULL
        )
        """
    )
    for column in ("id", "correlation", "subject"):
        op.execute(f"CREATE INDEX event_{column} ON event USING hash ({column})")
    op.execute("CREATE INDEX event_age ON event (recorded_at)")


def downgrade() -> None:
    op.execute("DROP TABLE event")
