"""The clients of realms."""

from __future__ import annotations

from functions.client_service.decide import Client
from functions.kit.store import Connection


async def add(tx: Connection, client: Client, key: str) -> None:
    """Keep a client."""
    await tx.execute(
        "INSERT INTO realm_client (id, realm_id, effect_key) VALUES ($1, $2, $3)",
        *(client.id, client.realm_id, key),
    )


async def remove(tx: Connection, key: str) -> None:
    """Delete the client that an effect made."""
    await tx.execute("DELETE FROM realm_client WHERE effect_key = $1", key)
