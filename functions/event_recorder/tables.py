"""All that event-recorder knows of SQL: events, each once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from functions.event_recorder.decide import Row, arrival, digest
from functions.kit.durable import history
from functions.kit.durable.database import without_nul

if TYPE_CHECKING:
    from functions.kit.durable.database import Connection

# `type` is a part of one, `trigger` a part of the name of a function that handled the event,
# `correlation` the id of the event that began a chain.
FILTERS = {
    "type": "strpos(type, {0}) > 0",
    "subject": "subject = {0}",
    "trigger": f"(source, id) IN ({history.HANDLED})",
    "correlation": "(id = {0} OR correlation = {0})",
}


async def keep(
    connection: Connection, said: Mapping[str, str], data: bytes, most: int, now: datetime
) -> None:
    """Store an event with the first `most` bytes of its data; one that is there stays as it is."""
    await connection.execute(
        """INSERT INTO event (digest, source, id, type, subject, correlation, arrived, recorded_at,
                              attributes, data, size)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING""",
        digest(said["source"], said["id"]),
        *(without_nul(said[name]) for name in ("source", "id", "type")),
        *(without_nul(said.get(name)) for name in ("subject", "correlationid")),
        *(arrival(said, now), now),
        *(dict(said), data[:most], len(data)),
    )


async def search(
    connection: Connection, filters: Mapping[str, str], before: int | None, limit: int
) -> list[Row]:
    """The events that fit all `filters`, newest first, whose `seq` is below `before`."""
    given = [*filters.values(), *([] if before is None else [before])]
    # Only what is asked for is in the statement, so that its plan uses the index of that.
    conditions = [FILTERS[name] for name in filters] + ["seq < {0}"] * (before is not None)
    where = [one.format(f"${n}") for n, one in enumerate(conditions, start=1)]
    rows = await connection.fetch(
        f"""SELECT seq, source, id, arrived, attributes, data, size FROM event
            WHERE {" AND ".join(where) or "true"}
            ORDER BY seq DESC LIMIT ${len(given) + 1}""",
        *(*given, limit),
    )
    return [dict(row) for row in rows]


async def forget(connection: Connection, before: datetime, most: int) -> int:
    """Delete events that were recorded before an instant, the oldest first; returns how many."""
    gone = await connection.fetch(
        """DELETE FROM event WHERE seq IN (
               SELECT seq FROM event WHERE recorded_at < $1 ORDER BY recorded_at LIMIT $2)
           RETURNING 1""",
        *(before, most),
    )
    return len(gone)
