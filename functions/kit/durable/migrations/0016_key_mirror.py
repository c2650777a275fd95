"""What a process of the version before answers under a raw Idempotency-Key is found by its digest.

Such processes serve until a deploy has replaced them. The first migration of the release after 0.2
drops the trigger and its function.
"""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.execute(
        """CREATE FUNCTION mirror_key() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN
               INSERT INTO inbox (function, source, id, type, received_at, answer, digest)
               VALUES (NEW.function, NEW.source,
                       encode(sha256(convert_to(NEW.id, 'UTF8')), 'hex'),
                       NEW.type, NEW.received_at, NEW.answer, NEW.digest)
               ON CONFLICT (function, source, id) DO UPDATE SET answer = EXCLUDED.answer
               WHERE inbox.answer IS NULL;
               RETURN NULL;
           END $$"""
    )
    op.execute(
        """CREATE TRIGGER mirror_key AFTER INSERT OR UPDATE OF answer ON inbox FOR EACH ROW
           WHEN (NEW.type = 'http' AND NEW.id !~ '^[0-9a-f]{64}$') EXECUTE FUNCTION mirror_key()"""
    )
    # What came after the copy of 0015; until this is committed, the trigger's lock lets none come.
    op.execute(
        """UPDATE inbox SET answer = answer WHERE type = 'http' AND id !~ '^[0-9a-f]{64}$'"""
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER mirror_key ON inbox")
    op.execute("DROP FUNCTION mirror_key")
