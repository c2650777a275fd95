"""The clients of realms, and the history of what was done to them."""

from __future__ import annotations

from functions.client_service.decide import Client
from functions.kit.durable.database import Connection


async def add(tx: Connection, client: Client, key: str) -> None:
    """Keep a client."""
    await tx.execute(
        "INSERT INTO realm_client (id, realm_id, name, effect_key) VALUES ($1, $2, $3, $4)",
        *(client.id, client.realm_id, client.name, key),
    )
    await _remember(tx, key, "DO")


async def remove(tx: Connection, key: str) -> None:
    """Delete the client that an effect made."""
    await tx.execute("DELETE FROM realm_client WHERE effect_key = $1", key)
    await _remember(tx, key, "UNDO")


async def _remember(tx: Connection, key: str, action: str) -> None:
    await tx.execute(
        "INSERT INTO realm_client_history (effect_key, action) VALUES ($1, $2)", key, action
    )
