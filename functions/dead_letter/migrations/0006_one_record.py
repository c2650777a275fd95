"""Who sent, dismissed or deleted a dead letter stands in `user_action`, and nowhere else."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

MINE = "function = 'dead_letter'"


def upgrade() -> None:
    # What users did since `user_action` came stands in both.
    op.execute(
        f"""DELETE FROM user_action WHERE {MINE} AND (action IN ('dismissed', 'deleted')
            OR subject IN (SELECT 'dead letter ' || dead_letter FROM redrive))"""
    )
    op.execute("ALTER TABLE redrive ADD COLUMN action bigint")
    op.execute(
        "UPDATE redrive SET action = nextval(pg_get_serial_sequence('user_action', 'number'))"
    )
    op.execute(
        """INSERT INTO user_action (number, function, at, who, action, subject, reason)
           OVERRIDING SYSTEM VALUE
           SELECT action, 'dead_letter', began_at, who,
                  CASE WHEN edited THEN 'sent again, edited' ELSE 'sent again' END,
                  'dead letter ' || dead_letter, ''
           FROM redrive"""
    )
    op.execute(
        """INSERT INTO user_action (function, at, who, action, subject, reason, about)
           SELECT 'dead_letter', at, CASE WHEN action = 'expired' THEN '' ELSE who END, action,
                  'dead letter ' || dead_letter, reason, jsonb_build_object(
                      'dead_letter', dead_letter, 'source', source, 'id', id, 'type', type,
                      'dest', dest)
           FROM audit ORDER BY number"""
    )
    op.execute("ALTER TABLE redrive DROP COLUMN who")
    op.execute("DROP TABLE audit")


def downgrade() -> None:
    op.execute("ALTER TABLE redrive ADD COLUMN who text NOT NULL DEFAULT ''")
    op.execute(
        """UPDATE redrive SET who = user_action.who
           FROM user_action WHERE user_action.number = redrive.action"""
    )
    op.execute("ALTER TABLE redrive DROP COLUMN action")
    op.execute(
        """
        CREATE TABLE audit (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            dead_letter bigint NOT NULL,
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
    op.execute("CREATE INDEX audit_of ON audit (dead_letter, number)")
    op.execute("CREATE INDEX audit_oldest ON audit (at)")
    op.execute(
        f"""INSERT INTO audit (dead_letter, at, who, action, reason, source, id, type, dest)
           SELECT (about->>'dead_letter')::bigint, at, who, action, reason, about->>'source',
                  about->>'id', about->>'type', about->>'dest'
           FROM user_action WHERE {MINE} AND about <> '{{}}' ORDER BY number"""
    )
    op.execute(f"DELETE FROM user_action WHERE {MINE} AND action = 'expired'")
