"""Events that were taken back: whoever works on one stops as soon as it looks.

It looks before it begins, before each step, and in the transaction that settles: from then on it
commits nothing. What it has asked of services until then stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from functions.kit.errors import Cancelled

if TYPE_CHECKING:
    from functions.kit.durable.database import Connection

Name = tuple[str, str]  # source and id


async def cancel(tx: Connection, reasons: Mapping[Name, str], now: datetime) -> None:
    """Take events back, each for its reason."""
    rows = [{"source": s, "id": id, "reason": why} for (s, id), why in reasons.items()]
    await tx.execute(
        """INSERT INTO cancelled_event (source, id, reason, at)
           SELECT source, id, reason, $2 FROM jsonb_to_recordset($1)
               AS given (source text, id text, reason text) ORDER BY source, id
           ON CONFLICT (source, id) DO UPDATE SET reason = excluded.reason, at = excluded.at""",
        *(rows, now),
    )


async def allow(tx: Connection, events: Iterable[Name]) -> None:
    """Let events be handled that are sent again."""
    await tx.execute(
        """DELETE FROM cancelled_event USING jsonb_to_recordset($1) AS given (source text, id text)
           WHERE cancelled_event.source = given.source AND cancelled_event.id = given.id""",
        [{"source": source, "id": id} for source, id in events],
    )


async def check(connection: Connection, event: Name | None) -> None:
    """`Cancelled` where the event was taken back; only ticks are, so others cost nothing."""
    if event is not None:
        reason = await connection.fetchval(
            "SELECT reason FROM cancelled_event WHERE source = $1 AND id = $2", *event
        )
        if reason is not None:
            raise Cancelled(reason)
