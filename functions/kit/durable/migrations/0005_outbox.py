"""Events that were committed and are still to be sent, for every function of a database.

`leased_until` is when another process may take a row over; a row without it is free. `refusal` is
the status with which the broker refused an event for good: then it is sent to the dead letters, and
holds up no other. Both are changed seldom; a row lives for milliseconds, so vacuum comes early.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE outbox_event (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            function text NOT NULL,
            partition_key text,
            message json NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            attempts integer NOT NULL DEFAULT 0,
            leased_until timestamptz,
            detail text,
            refusal integer
        ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)
        """
    )
    op.execute("CREATE INDEX outbox_event_order ON outbox_event (partition_key, number)")
    op.execute("CREATE INDEX outbox_event_due ON outbox_event (leased_until NULLS FIRST)")


def downgrade() -> None:
    op.execute("DROP TABLE outbox_event")
