"""Sources, ids and types of whatever length: a B-tree holds 2,704 bytes, a digest always fits."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("ALTER TABLE letter DROP CONSTRAINT letter_source_id_dest_key")
    op.execute("CREATE UNIQUE INDEX letter_identity ON letter (md5(source), md5(id), md5(dest))")
    op.execute("DROP INDEX letter_of")
    op.execute("CREATE INDEX letter_of ON letter (state, seen)")


def downgrade() -> None:
    op.execute("DROP INDEX letter_of")
    op.execute("CREATE INDEX letter_of ON letter (state, function, type, seen)")
    op.execute("DROP INDEX letter_identity")
    op.execute("ALTER TABLE letter ADD UNIQUE (source, id, dest)")
