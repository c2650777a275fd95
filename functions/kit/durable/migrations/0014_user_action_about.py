"""What an action was about, where that may be gone by the time the record is read."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.execute("ALTER TABLE user_action ADD COLUMN about jsonb NOT NULL DEFAULT '{}'")
    op.execute("CREATE INDEX user_action_subject ON user_action (function, subject)")


def downgrade() -> None:
    op.execute("DROP INDEX user_action_subject")
    op.execute("ALTER TABLE user_action DROP COLUMN about")
