"""Deliveries of labels are found by repository and number, those of pull requests, too."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("DROP INDEX delivery_labelled")
    op.execute(
        """CREATE INDEX delivery_labelled
           ON delivery ((attributes ->> 'source'), (attributes ->> 'subject'))
           WHERE type LIKE 'com.github.%.labeled'"""
    )
