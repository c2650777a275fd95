"""Dead letters are called so in the tables, too."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

INDEXES = ("newest", "of", "oldest", "identity", "pkey")


def upgrade() -> None:
    _rename("letter", "dead_letter")


def downgrade() -> None:
    _rename("dead_letter", "letter")


def _rename(old: str, new: str) -> None:
    op.execute(f"ALTER TABLE {old} RENAME TO {new}")
    op.execute(f"ALTER SEQUENCE {old}_seen RENAME TO {new}_seen")
    op.execute(f"ALTER TABLE {new} RENAME CONSTRAINT {old}_state_check TO {new}_state_check")
    for index in INDEXES:
        op.execute(f"ALTER INDEX {old}_{index} RENAME TO {new}_{index}")
    for table in ("redrive", "audit"):
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
