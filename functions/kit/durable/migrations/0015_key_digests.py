"""Idempotency-Keys are kept by their digest: what was answered under a key is found by it.

The rows of before stay beside these, for processes of the version before.
"""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"

# As `functions.kit.clients.service.header_key`.
_DIGEST = "encode(sha256(convert_to(id, 'UTF8')), 'hex')"


def upgrade() -> None:
    op.execute(
        f"""INSERT INTO inbox (function, source, id, type, received_at, answer, digest)
            SELECT function, source, {_DIGEST}, type, received_at, answer, digest FROM inbox
            WHERE type = 'http' AND id !~ '^[0-9a-f]{{64}}$' ON CONFLICT DO NOTHING"""
    )


def downgrade() -> None:
    op.execute(
        f"""DELETE FROM inbox USING (
                SELECT function, source, {_DIGEST} AS id FROM inbox WHERE type = 'http') AS copied
            WHERE inbox.type = 'http' AND inbox.function = copied.function
            AND inbox.source = copied.source AND inbox.id = copied.id"""
    )
