"""What users did: who, what, when and why."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE user_action (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            function text NOT NULL,
            at timestamptz NOT NULL,
            who text NOT NULL,
            action text NOT NULL,
            subject text NOT NULL,
            reason text NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX user_action_newest ON user_action (function, number)")
    op.execute("CREATE INDEX user_action_oldest ON user_action (function, at)")


def downgrade() -> None:
    op.execute("DROP TABLE user_action")
