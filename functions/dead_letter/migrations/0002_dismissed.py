"""Dead letters that are dismissed, edited or deleted, and an audit that outlives them."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("ALTER TABLE letter DROP CONSTRAINT letter_state_check")
    op.execute(
        """ALTER TABLE letter ADD CONSTRAINT letter_state_check
           CHECK (state IN ('open', 'redriving', 'redriven', 'dismissed'))"""
    )
    # What the event had; `data` may be only its beginning.
    op.execute("ALTER TABLE letter ADD COLUMN size bigint")
    op.execute("UPDATE letter SET size = octet_length(data)")
    op.execute("ALTER TABLE letter ALTER COLUMN size SET NOT NULL")
    op.execute("CREATE INDEX letter_oldest ON letter (last_at)")
    op.execute("ALTER TABLE redrive ADD COLUMN edited boolean NOT NULL DEFAULT false")
    op.execute("ALTER TABLE redrive DROP CONSTRAINT redrive_letter_fkey")
    op.execute(
        """ALTER TABLE redrive ADD CONSTRAINT redrive_letter_fkey
           FOREIGN KEY (letter) REFERENCES letter ON DELETE CASCADE"""
    )
    # No reference: a row tells of a dead letter that is gone. It holds nothing of the data.
    op.execute(
        """
        CREATE TABLE audit (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            letter bigint NOT NULL,
            at timestamptz NOT NULL,
            who text NOT NULL,
            action text NOT NULL CHECK (action IN ('dismissed', 'deleted', 'expired')),
            reason text NOT NULL,
            source text NOT NULL,
            id text NOT NULL,
            type text NOT NULL,
            dest text NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX audit_of ON audit (letter, number)")
    op.execute("CREATE INDEX audit_oldest ON audit (at)")


def downgrade() -> None:
    op.execute("DROP TABLE audit")
    op.execute("ALTER TABLE redrive DROP COLUMN edited")
    op.execute("ALTER TABLE redrive DROP CONSTRAINT redrive_letter_fkey")
    op.execute(
        """ALTER TABLE redrive ADD CONSTRAINT redrive_letter_fkey
           FOREIGN KEY (letter) REFERENCES letter"""
    )
    op.execute("DROP INDEX letter_oldest")
    op.execute("ALTER TABLE letter DROP COLUMN size")
    op.execute("UPDATE letter SET state = 'redriven' WHERE state = 'dismissed'")
    op.execute("ALTER TABLE letter DROP CONSTRAINT letter_state_check")
    op.execute(
        """ALTER TABLE letter ADD CONSTRAINT letter_state_check
           CHECK (state IN ('open', 'redriving', 'redriven'))"""
    )
