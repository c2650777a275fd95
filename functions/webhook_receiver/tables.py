"""The ledger of deliveries: all SQL of the receiver.

A delivery is `accepted` once it is stored, `published` once the broker has it, and `failed` when
the broker refuses it for good. `attributes` is the event without its data, in the JSON format.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from functions.kit.durable.database import Connection

_LIST = """number, source, id, type, attributes ->> 'subject' AS subject, size, state, attempts,
           last_error, received_at, published_at"""


@dataclass(frozen=True)
class Delivery:
    """What a source delivered, as the event that it becomes.

    `body_digest` is of the body that was signed, where the signature covers nothing but the body:
    whoever has captured it may send it again under another id.
    """

    source: str
    id: str
    type: str
    attributes: Mapping[str, str]
    data: bytes
    body_digest: bytes | None = None


@dataclass(frozen=True)
class Claimed:
    """A stored delivery that is ours to send."""

    number: int
    attempts: int
    attributes: Mapping[str, str]
    data: bytes


async def insert(connection: Connection, deliveries: Sequence[Delivery]) -> set[tuple[str, str]]:
    """Store all in one statement; returns (source, id) of those that were new."""
    rows = await connection.fetch(
        """INSERT INTO delivery (source, id, type, attributes, data, size, body_digest)
           SELECT source, id, type, attributes::jsonb, data, length(data), body_digest
           FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::bytea[])
                AS given (source, id, type, attributes, data, body_digest)
           ON CONFLICT DO NOTHING RETURNING source, id""",
        [d.source for d in deliveries],
        [d.id for d in deliveries],
        [d.type for d in deliveries],
        [json.dumps(d.attributes) for d in deliveries],
        [d.data for d in deliveries],
        [d.body_digest for d in deliveries],
    )
    return {(row["source"], row["id"]) for row in rows}


async def is_known(connection: Connection, delivery: Delivery) -> bool:
    return bool(
        await connection.fetchval(
            "SELECT true FROM delivery WHERE id = $1 AND source = $2",
            *(delivery.id, delivery.source),
        )
    )


async def claim(
    tx: Connection, most: int, most_bytes: int, lease_s: float, *, alone: bool
) -> list[Claimed]:
    """The oldest that are due, ours for `lease_s` seconds: then they are due again.

    With `alone`, at least one if there is any, whatever its size.
    """
    rows = await tx.fetch(
        """WITH due AS (
               SELECT number, size, due_at FROM delivery
               WHERE state = 'accepted' AND due_at <= now()
               ORDER BY due_at, number LIMIT $1 FOR UPDATE SKIP LOCKED
           ), counted AS (
               SELECT number, sum(size) OVER oldest AS total, row_number() OVER oldest AS place
               FROM due WINDOW oldest AS (ORDER BY due_at, number)
           )
           UPDATE delivery SET due_at = now() + make_interval(secs => $3)
           FROM counted
           WHERE delivery.number = counted.number AND (total <= $2 OR ($4 AND place = 1))
           RETURNING delivery.number, attempts, attributes, data, place""",
        *(most, most_bytes, lease_s, alone),
    )
    return [
        Claimed(row["number"], row["attempts"], row["attributes"], row["data"])
        for row in sorted(rows, key=lambda row: int(row["place"]))
    ]


async def hold(connection: Connection, numbers: Sequence[int], lease_s: float) -> None:
    """Lease them further."""
    await connection.execute(
        """UPDATE delivery SET due_at = now() + make_interval(secs => $2)
           WHERE number = ANY($1::bigint[]) AND state = 'accepted'""",
        *(numbers, lease_s),
    )


async def mark_published(tx: Connection, numbers: Sequence[int]) -> None:
    await tx.execute(
        """UPDATE delivery SET state = 'published', published_at = now(), last_error = NULL,
                  attempts = attempts + 1
           WHERE number = ANY($1::bigint[])""",
        numbers,
    )


async def mark_unsent(tx: Connection, number: int, error: str, *, again_in_s: float | None) -> None:
    """It did not go out: try again in so many seconds, or never."""
    await tx.execute(
        """UPDATE delivery SET attempts = attempts + 1, last_error = $2,
                  state = CASE WHEN $3::float8 IS NULL THEN 'failed' ELSE state END,
                  due_at = now() + make_interval(secs => coalesce($3::float8, 0))
           WHERE number = $1""",
        *(number, error, again_in_s),
    )


async def seconds_to_next(connection: Connection) -> float | None:
    """How long until a delivery is due, in seconds; None when none waits."""
    found: float | None = await connection.fetchval(
        """SELECT extract(epoch FROM min(due_at) - now())::float8
           FROM delivery WHERE state = 'accepted'"""
    )
    return found


async def find(
    connection: Connection,
    *,
    state: str | None,
    source: str | None,
    before: int | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Deliveries, newest first, without their data."""
    rows = await connection.fetch(
        f"""SELECT {_LIST} FROM delivery
            WHERE ($1::text IS NULL OR state = $1) AND ($2::text IS NULL OR source = $2)
              AND ($3::bigint IS NULL OR number < $3)
            ORDER BY number DESC LIMIT $4""",
        *(state, source, before, limit),
    )
    return [dict(row) for row in rows]


async def redeliver(connection: Connection, id: str, source: str | None) -> list[dict[str, Any]]:
    """Have the deliveries of this id sent again; returns them, several if sources share an id."""
    rows = await connection.fetch(
        f"""UPDATE delivery SET state = 'accepted', due_at = now(), published_at = NULL
            WHERE id = $1 AND ($2::text IS NULL OR source = $2) RETURNING {_LIST}""",
        *(id, source),
    )
    return [dict(row) for row in rows]


async def redeliver_all(
    connection: Connection, state: str, source: str | None, since: datetime | None
) -> int:
    """Have all of a state sent again, of one source and from a moment on; returns how many."""
    rows = await connection.fetch(
        """UPDATE delivery SET state = 'accepted', due_at = now(), published_at = NULL
           WHERE state = $1 AND ($2::text IS NULL OR source = $2)
             AND ($3::timestamptz IS NULL OR received_at >= $3) RETURNING number""",
        *(state, source, since),
    )
    return len(rows)


async def forget(tx: Connection, days: int) -> None:
    """Delete what was published so long ago that nobody repeats it."""
    await tx.execute(
        """DELETE FROM delivery
           WHERE state = 'published' AND published_at < now() - make_interval(days => $1)""",
        days,
    )


async def standing(connection: Connection) -> tuple[dict[str, int], float]:
    """How many deliveries there are of each state, and the oldest unsent one's age in seconds."""
    rows = await connection.fetch("SELECT state, count(*) AS n FROM delivery GROUP BY state")
    oldest_s: float = await connection.fetchval(
        """SELECT coalesce(extract(epoch FROM now() - min(received_at)), 0)::float8
           FROM delivery WHERE state = 'accepted'"""
    )
    none = dict.fromkeys(("accepted", "published", "failed"), 0)
    return none | {row["state"]: row["n"] for row in rows}, oldest_s
