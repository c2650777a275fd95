"""The ledger of deliveries."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE delivery (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            source text NOT NULL,
            id text NOT NULL,
            type text NOT NULL,
            attributes jsonb NOT NULL,
            data bytea NOT NULL,
            size integer NOT NULL,
            state text NOT NULL DEFAULT 'accepted'
                CHECK (state IN ('accepted', 'published', 'failed')),
            attempts integer NOT NULL DEFAULT 0,
            last_error text,
            received_at timestamptz NOT NULL DEFAULT now(),
            due_at timestamptz NOT NULL DEFAULT now(),
            published_at timestamptz,
            UNIQUE (id, source)
        )
        """
    )
    # JSON of some kilobytes: compressing it would cost more than the disk it saves.
    op.execute("ALTER TABLE delivery ALTER COLUMN data SET STORAGE EXTERNAL")
    op.execute("CREATE INDEX delivery_unsent ON delivery (due_at, number) WHERE state = 'accepted'")
    op.execute("CREATE INDEX delivery_old ON delivery (published_at) WHERE state = 'published'")


def downgrade() -> None:
    op.execute("DROP TABLE delivery")
