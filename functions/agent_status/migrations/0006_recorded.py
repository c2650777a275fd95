"""A Job that was recorded only has a state of its own."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute(
        """
        UPDATE status_thread SET jobs = (
            SELECT jsonb_object_agg(key, CASE WHEN value->>'outcome' = 'recorded'
                THEN value || '{"state": "recorded"}' ELSE value END)
            FROM jsonb_each(jobs))
        WHERE jobs @? '$.*.outcome ? (@ == "recorded")'
        """
    )


def downgrade() -> None:
    op.execute(
        """
        UPDATE status_thread SET jobs = (
            SELECT jsonb_object_agg(key, CASE WHEN value->>'state' = 'recorded'
                THEN value || '{"state": "succeeded", "outcome": "recorded"}' ELSE value END)
            FROM jsonb_each(jobs))
        WHERE jobs @? '$.*.state ? (@ == "recorded")'
        """
    )
