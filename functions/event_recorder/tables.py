"""The table of recorded events."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from functions.event_recorder.decide import EventRow, arrival, digest
from functions.kit.durable import history
from functions.kit.durable.database import without_nul

if TYPE_CHECKING:
    from functions.kit.durable import Connection

# `type` is a substring of the type, `trigger` one of the name of a function that handled the event,
# `correlation` the id of the first event of a chain.
FILTERS = {
    "type": "strpos(type, {0}) > 0",
    "subject": "subject = {0}",
    "trigger": f"(source, id) IN ({history.HANDLED})",
    "correlation": "(id = {0} OR correlation = {0})",
}


async def insert(
    connection: Connection,
    attributes: Mapping[str, str],
    data: bytes,
    max_bytes: int,
    now: datetime,
) -> None:
    """Store an event with the first `max_bytes` of its data, unless it is stored already."""
    row = {
        "digest": digest(attributes["source"], attributes["id"]),
        "source": without_nul(attributes["source"]),
        "id": without_nul(attributes["id"]),
        "type": without_nul(attributes["type"]),
        "subject": without_nul(attributes.get("subject")),
        "correlation": without_nul(attributes.get("correlationid")),
        "arrived": arrival(attributes, now),
        "recorded_at": now,
        "attributes": dict(attributes),
        "data": data[:max_bytes],
        "size": len(data),
    }
    places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    await connection.execute(
        f"INSERT INTO event ({', '.join(row)}) VALUES ({places}) ON CONFLICT DO NOTHING",
        *row.values(),
    )


async def search(
    connection: Connection, filters: Mapping[str, str], before: int | None, limit: int
) -> list[EventRow]:
    """Return the events that match all `filters`, newest first, with a `seq` below `before`."""
    values = [*filters.values(), *([] if before is None else [before])]
    # Only the given filters are in the statement, so that its plan uses their indexes.
    conditions = [FILTERS[name] for name in filters] + ["seq < {0}"] * (before is not None)
    where = [condition.format(f"${n}") for n, condition in enumerate(conditions, start=1)]
    rows = await connection.fetch(
        f"""SELECT seq, source, id, arrived, attributes, data, size FROM event
            WHERE {" AND ".join(where) or "true"}
            ORDER BY seq DESC LIMIT ${len(values) + 1}""",
        *values,
        limit,
    )
    return [dict(row) for row in rows]
