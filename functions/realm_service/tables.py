"""The realms, and the history of their changes."""

from __future__ import annotations

from functions.kit.durable import Connection, rule_of_log
from functions.realm_service.decide import Realm

RETENTION = (rule_of_log("realm_history", "at", days=365),)


async def add(tx: Connection, realm: Realm, key: str) -> bool:
    """Store a realm; False where another one has its name."""
    return bool(
        await tx.fetchval(
            """WITH added AS (
                   INSERT INTO realm (id, tenant_id, name, effect_key) VALUES ($1, $2, $3, $4)
                   ON CONFLICT (name) DO NOTHING RETURNING effect_key)
               INSERT INTO realm_history (effect_key, action)
               SELECT effect_key, 'DO' FROM added RETURNING true""",
            realm.id,
            realm.tenant_id,
            realm.name,
            key,
        )
    )


async def remove(tx: Connection, key: str) -> None:
    """Delete the realm of an effect."""
    await tx.execute(
        """WITH deleted AS (DELETE FROM realm WHERE effect_key = $1)
           INSERT INTO realm_history (effect_key, action) VALUES ($1, 'UNDO')""",
        key,
    )
