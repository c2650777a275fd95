"""The ledger of deliveries: all SQL of the receiver.

A delivery is `accepted` while its event is in the outbox, `failed` where the broker refused that
for good, and else `published`. `attributes` is the event without its data, in the JSON format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic_core import from_json

from functions.kit.durable import Connection, Rule, rule

FUNCTION = "webhook_receiver"

# The column is of the version before; in the rows of this one it says `published`.
_STATE = """CASE WHEN sent.number IS NULL THEN delivery.state
                 WHEN sent.refusal IS NULL THEN 'accepted' ELSE 'failed' END"""
_LEDGER = "delivery LEFT JOIN outbox_event AS sent ON sent.number = delivery.event"
_LIST = f"""delivery.number, source, id, type, attributes ->> 'subject' AS subject, size,
    {_STATE} AS state, coalesce(sent.attempts, 0) AS attempts,
    coalesce('the broker refused it with ' || refusal, detail) AS last_error, received_at,
    coalesce(attributes ->> 'via', 'webhook') AS via"""


@dataclass(frozen=True)
class Delivery:
    """What a source delivered, as the event that it becomes.

    `body_digest` is of the body that was signed, where the signature covers nothing but the body:
    whoever has captured it may send it again under another id. `payload` is the data, where it has
    been parsed already.
    """

    source: str
    id: str
    type: str
    attributes: Mapping[str, str]
    data: bytes
    body_digest: bytes | None = None
    payload: Any = field(default=None, compare=False, repr=False)

    def json(self) -> Any:
        """The data's value; `ValueError` where it is no JSON."""
        return from_json(self.data) if self.payload is None else self.payload


async def insert(tx: Connection, deliveries: Sequence[Delivery], events: Sequence[int]) -> set[int]:
    """Store deliveries with the numbers of their events; returns the numbers of new ones."""
    # A receiver of the version before must take none of these for its own to send.
    rows = await tx.fetch(
        """INSERT INTO delivery (source, id, type, attributes, data, size, body_digest, event,
                                 state)
           SELECT source, id, type, attributes, data, length(data), decode(digest, 'hex'), event,
                  'published'
           FROM json_to_recordset($1) AS given (place int, source text, id text, type text,
                                                attributes jsonb, digest text, event bigint),
                LATERAL (SELECT ($2::bytea[])[place]) AS body (data)
           ON CONFLICT DO NOTHING RETURNING event""",
        [
            {
                "place": place,
                "source": d.source,
                "id": d.id,
                "type": d.type,
                "attributes": d.attributes,
                "digest": d.body_digest.hex() if d.body_digest else None,
                "event": event,
            }
            for place, (d, event) in enumerate(zip(deliveries, events, strict=True), 1)
        ],
        [d.data for d in deliveries],
    )
    return {row["event"] for row in rows}


async def is_known(connection: Connection, delivery: Delivery) -> bool:
    return bool(
        await connection.fetchval(
            "SELECT true FROM delivery WHERE id = $1 AND source = $2",
            *(delivery.id, delivery.source),
        )
    )


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
        f"""SELECT {_LIST} FROM {_LEDGER}
            WHERE ($1::text IS NULL OR {_STATE} = $1) AND ($2::text IS NULL OR source = $2)
              AND ($3::bigint IS NULL OR delivery.number < $3)
            ORDER BY delivery.number DESC LIMIT $4""",
        *(state, source, before, limit),
    )
    return [dict(row) for row in rows]


async def of_id(connection: Connection, id: str, source: str | None) -> list[dict[str, Any]]:
    """The deliveries of this id, several if sources share it."""
    rows = await connection.fetch(
        f"""SELECT {_LIST} FROM {_LEDGER}
            WHERE id = $1 AND ($2::text IS NULL OR source = $2)""",
        *(id, source),
    )
    return [dict(row) for row in rows]


async def numbers(
    connection: Connection, state: str, source: str | None, since: datetime | None
) -> list[int]:
    """Of all deliveries of a state, of one source and from a moment on, oldest first."""
    rows = await connection.fetch(
        f"""SELECT delivery.number FROM {_LEDGER}
            WHERE {_STATE} = $1 AND ($2::text IS NULL OR source = $2)
              AND ($3::timestamptz IS NULL OR received_at >= $3) ORDER BY delivery.number""",
        *(state, source, since),
    )
    return [row["number"] for row in rows]


async def left_unsent(tx: Connection, limit: int) -> list[int]:
    """What a receiver of the version before has not sent, and sends no more."""
    rows = await tx.fetch(
        """UPDATE delivery SET state = 'published' WHERE number = ANY (ARRAY(
               SELECT number FROM delivery
               WHERE state = 'accepted' AND event IS NULL AND due_at <= now()
               ORDER BY number LIMIT $1 FOR UPDATE SKIP LOCKED))
           RETURNING number""",
        limit,
    )
    return sorted(row["number"] for row in rows)


async def sendable(tx: Connection, numbers: Sequence[int]) -> dict[int, Delivery]:
    """Deliveries whose event is not to be sent anyway, by number; no other takes them meanwhile."""
    rows = await tx.fetch(
        f"""SELECT delivery.number, source, id, type, attributes, data FROM {_LEDGER}
            WHERE delivery.number = ANY ($1::bigint[]) AND {_STATE} <> 'accepted'
            ORDER BY delivery.number FOR UPDATE OF delivery""",
        numbers,
    )
    return {
        row["number"]: Delivery(
            row["source"], row["id"], row["type"], row["attributes"], row["data"]
        )
        for row in rows
    }


async def link(tx: Connection, numbers: Sequence[int], events: Sequence[int]) -> None:
    """Note the events as which deliveries leave now."""
    await tx.execute(
        """UPDATE delivery SET event = given.event
           FROM json_to_recordset($1) AS given (number bigint, event bigint)
           WHERE delivery.number = given.number""",
        [{"number": n, "event": event} for n, event in zip(numbers, events, strict=True)],
    )


@dataclass(frozen=True)
class Counts:
    """How many deliveries wait to be sent, were refused, and came in the last 24 hours."""

    accepted: int
    failed: int
    last_day: int


async def counts(connection: Connection) -> Counts:
    """Counts that read no more rows than they count, however many deliveries are kept."""
    row = await connection.fetchrow(
        """SELECT count(*) FILTER (WHERE refusal IS NULL) AS accepted,
                  count(*) FILTER (WHERE refusal IS NOT NULL) AS failed,
                  (SELECT count(*) FROM delivery
                   WHERE received_at > now() - interval '1 day') AS last_day
           FROM outbox_event WHERE function = $1""",
        FUNCTION,
    )
    assert row is not None, "an aggregate has one row"
    return Counts(row["accepted"], row["failed"], row["last_day"])


def retention(days: int) -> Rule:
    """Deliveries that are so old that no sender repeats them; never an unsent one."""
    return rule(
        "delivery",
        "received_at",
        days,
        "state <> 'accepted' AND NOT EXISTS (SELECT FROM outbox_event"
        " WHERE number = event AND refusal IS NULL)",
    )
