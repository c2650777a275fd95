"""Of what kind a run's failure was: `permanent`, `temporary` or `unexpected`.

Until now readers had to know its error's class, with which the detail begins.
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"

# The classes of the kit's errors at this revision.
_PERMANENT = """'PermanentError', 'NotFound', 'Conflict', 'TooLarge', 'TooSlow', 'CutShort',
    'BadAnswer', 'Refused', 'Forbidden', 'NoRight', 'QuotaUsedUp'"""
_TEMPORARY = "'TemporaryError', 'NotSent', 'RateLimited'"


def upgrade() -> None:
    op.execute("ALTER TABLE run ADD COLUMN failure_kind text")
    op.execute(
        f"""UPDATE run SET failure_kind = CASE
                WHEN split_part(detail, ':', 1) IN ({_PERMANENT}) THEN 'permanent'
                WHEN split_part(detail, ':', 1) IN ({_TEMPORARY}) THEN 'temporary'
                ELSE 'unexpected' END
            WHERE outcome = 'failed'"""
    )
    op.execute("DROP INDEX run_failed")
    op.execute(
        """CREATE INDEX run_failed ON run
            (function, type, coalesce(failure_kind, 'unexpected'), ended_at)
        WHERE outcome = 'failed'"""
    )


def downgrade() -> None:
    op.execute("DROP INDEX run_failed")
    op.execute("ALTER TABLE run DROP COLUMN failure_kind")
    op.execute(
        """CREATE INDEX run_failed ON run
            (function, type, coalesce(split_part(detail, ':', 1), ''), ended_at)
        WHERE outcome = 'failed'"""
    )
