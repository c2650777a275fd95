"""The history of changes to realms: append-only, without a key that would hide a repeat."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE realm_history (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            effect_key text NOT NULL,
            action text NOT NULL,
            at timestamptz NOT NULL DEFAULT clock_timestamp()
        )
        """
    )
    op.execute("CREATE INDEX ON realm_history (effect_key)")


def downgrade() -> None:
    op.execute("DROP TABLE realm_history")
