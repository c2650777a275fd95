"""The clients of realms, and the history of their changes."""

from __future__ import annotations

from functions.client_service.decide import Client
from functions.kit.durable import Connection, rule_of_log

RETENTION = (rule_of_log("realm_client_history", "at", days=365),)


async def add(tx: Connection, client: Client, key: str) -> None:
    """Store a client."""
    await tx.execute(
        """WITH added AS (
               INSERT INTO realm_client (id, realm_id, name, effect_key) VALUES ($1, $2, $3, $4))
           INSERT INTO realm_client_history (effect_key, action) VALUES ($4, 'DO')""",
        client.id,
        client.realm_id,
        client.name,
        key,
    )


async def remove(tx: Connection, key: str) -> None:
    """Delete the client of an effect."""
    await tx.execute(
        """WITH deleted AS (DELETE FROM realm_client WHERE effect_key = $1)
           INSERT INTO realm_client_history (effect_key, action) VALUES ($1, 'UNDO')""",
        key,
    )
