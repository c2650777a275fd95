"""The sessions that were signed out: a copy of such a cookie counts in no pod.

With DATABASE_URL they are in a table, which all processes read; without one each process knows its
own. A session ends by itself after `SESSION_S`, and is forgotten a day after its sign-out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from functions.console.authentication.sessions import SESSION_S
from functions.kit.context import Context, Resources
from functions.kit.durable import Rule, rule
from functions.kit.errors import TemporaryError
from functions.kit.settings import DatabaseSettings

# A page waits no longer than that for a database that does not answer.
TIMEOUT_S = 1.0


class EndedSessions:
    """Those of all processes, or of this one."""

    def __init__(self, resources: Resources) -> None:
        self._until: dict[str, float] = {}
        self._store = resources.store if resources.settings(DatabaseSettings).url else None

    async def add(self, id: str) -> None:
        """End a session; `TemporaryError` where the other processes could not be informed."""
        if self._store is not None:
            async with self._store.connection() as connection:
                await connection.execute(
                    "INSERT INTO ended_session (id) VALUES ($1) ON CONFLICT DO NOTHING", id
                )
        now = time.monotonic()
        self._until = {id: until for id, until in self._until.items() if until > now}
        self._until[id] = now + SESSION_S

    async def has(self, id: str) -> bool:
        """Has it ended? `TemporaryError` where that cannot be read in time."""
        if id in self._until:
            return True
        if self._store is None:
            return False
        try:
            async with asyncio.timeout(TIMEOUT_S), self._store.connection() as connection:
                found: bool = await connection.fetchval(
                    "SELECT EXISTS (SELECT FROM ended_session WHERE id = $1)", id
                )
        except TimeoutError:
            raise TemporaryError(f"database: no answer within {TIMEOUT_S:g} s") from None
        return found


def retention(ctx: Context) -> Sequence[Rule]:
    """None lasts longer than `SESSION_S`, and clocks differ less than the rest of the day."""
    return (rule("ended_session", "ended_at", days=1),)
