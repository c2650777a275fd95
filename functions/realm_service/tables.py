"""The realms, and the history of what was done to them."""

from __future__ import annotations

from functions.kit.durable.database import Connection
from functions.realm_service.decide import Realm


async def add(tx: Connection, realm: Realm, key: str) -> bool:
    """Keep a realm; False where another one has its name."""
    added = await tx.fetchval(
        """INSERT INTO realm (id, tenant_id, name, effect_key) VALUES ($1, $2, $3, $4)
           ON CONFLICT (name) DO NOTHING RETURNING true""",
        *(realm.id, realm.tenant_id, realm.name, key),
    )
    if added:
        await _remember(tx, key, "DO")
    return bool(added)


async def remove(tx: Connection, key: str) -> None:
    """Delete the realm that an effect made."""
    await tx.execute("DELETE FROM realm WHERE effect_key = $1", key)
    await _remember(tx, key, "UNDO")


async def _remember(tx: Connection, key: str, action: str) -> None:
    await tx.execute("INSERT INTO realm_history (effect_key, action) VALUES ($1, $2)", key, action)
