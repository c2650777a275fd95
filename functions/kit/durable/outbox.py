"""The outbox: events that were committed with what they report, until the broker has them.

A call of a service may be such a row as well: who it is for is not the broker, and only processes
of its own function know how to make it.

Rows are inserted last in their transaction, when it holds all its row locks. So of two transactions
that change the same entity, the later one has the higher number: per partition key, the order of
the numbers is the order of the commits.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from functions.kit import cloudevents
from functions.kit.clients.off_loop import off_loop
from functions.kit.durable.database import without_nul
from functions.kit.durable.locks import RELAY

if TYPE_CHECKING:
    from functions.kit.durable.database import Connection, Store

# How long a row is left to the process that took it. That process prolongs it while it lives.
LEASE_S = 30.0
# Of all events that one process has leased.
MAX_BYTES = 32 * 1024 * 1024
# Larger data is stored as base64: to see if it is JSON takes longer than to store it.
READABLE_BYTES = 4096


@dataclass(frozen=True)
class Entry:
    """A row. `leased`: by this process. `refusal`: with which status the broker refused it, and
    `cause` the text of that answer.

    `is_call`: the message is a call of a service, by its type.
    """

    number: int
    partition_key: str | None
    message: cloudevents.Message
    attempts: int = 0
    refusal: int | None = None
    leased: bool = True
    is_call: bool = False
    cause: str = ""


async def put(
    tx: Connection,
    function: str,
    messages: Sequence[cloudevents.Message],
    *,
    lease: int = 1_000_000,
    ordered: bool = True,
    is_call: bool = False,
) -> list[Entry]:
    """Store events, or calls, to be sent, in order; the last statement of a transaction.

    Returns their rows; those that are leased to the caller he sends after the commit, at most the
    first `lease` of them. An event
    whose partition key has unsent events is not leased: it waits for its turn, unless the events
    are not `ordered`, as commands for parallel steps.
    """
    if not messages:
        return []
    keys = [m.extensions.get("partitionkey") if ordered else None for m in messages]
    given = [{"place": place, "key": key} for place, key in enumerate(keys, 1)]
    documents = [await off_loop(len(m.data), _document, m) for m in messages]
    rows = await tx.fetch(
        # OFFSET 0: each key is looked up by the index. Without, the planner reads the whole table
        # for each INSERT, all rows besides that were deleted of late.
        """INSERT INTO outbox_event (function, partition_key, message, is_call, leased_until)
           SELECT $1, given.key, ($3::text[])[given.place]::json, $6,
                  CASE WHEN place <= $4 AND (given.key IS NULL OR NOT EXISTS (
                      SELECT FROM outbox_event earlier WHERE earlier.partition_key = given.key
                      AND earlier.refusal IS NULL OFFSET 0))
                  THEN clock_timestamp() + make_interval(secs => $5) END
           FROM json_to_recordset($2) AS given (place int, key text)
           ORDER BY place RETURNING number, leased_until IS NOT NULL AS leased""",
        function,
        given,
        documents,
        *(lease, LEASE_S, is_call),
    )
    return [
        Entry(row["number"], key, message, leased=row["leased"], is_call=is_call)
        for row, key, message in zip(rows, keys, messages, strict=True)
    ]


def _document(message: cloudevents.Message) -> str:
    """The event in the JSON format; one that is passed on byte for byte as its headers and body."""
    if message.verbatim is None and len(message.data) <= READABLE_BYTES:
        return cloudevents.to_json_text(message)
    given: dict[str, Any] = {"verbatim": dict(message.verbatim or {})}
    if message.verbatim is None:
        given = {"specversion": message.specversion, **cloudevents.attributes(message)}
    # Base64 needs no escapes: to look for some takes longer than the encoding.
    return f'{json.dumps(given)[:-1]}, "data_base64": "{b64encode(message.data).decode()}"}}'


async def withdraw(tx: Connection, numbers: Sequence[int]) -> None:
    """Take rows back that the same transaction has put."""
    await tx.execute("DELETE FROM outbox_event WHERE number = ANY ($1::bigint[])", numbers)


async def withdraw_all(tx: Connection, key: str) -> None:
    """Take the unsent rows of a partition key back."""
    await tx.execute("DELETE FROM outbox_event WHERE partition_key = $1 AND refusal IS NULL", key)


# Two looks at the two ends of an index: with an OR between, it is read from end to end, all rows
# besides that were deleted of late.
_IS_DUE = "SELECT " + " OR ".join(
    f"""EXISTS (SELECT FROM outbox_event WHERE leased_until {is_free}
        AND dead_lettered_at IS NULL AND (NOT is_call OR function = $1))"""
    for is_free in ("IS NULL", "<= statement_timestamp()")
)


async def lease(
    store: Store, limit: int, max_bytes: int = MAX_BYTES, caller: str | None = None
) -> list[Entry]:
    """Take over at most `limit` rows that are due, oldest first, of whatever function.

    Of calls only those of `caller`, which is to make them.

    At least one if there is any, and others as long as all together have at most `max_bytes`.

    A row is due when no earlier row of its partition key is with another process or waits for
    another attempt.
    """
    async with store.connection() as connection:
        due = await connection.fetchval(_IS_DUE, caller)
    if not due:
        return []
    async with store.transaction() as tx:
        # One at a time: two could otherwise take an earlier and a later row of one key.
        if not await RELAY.try_hold(tx):
            return []
        rows = await tx.fetch(
            # One time for all rows: what becomes due during the scan must not follow what waits.
            """WITH due AS (
                   SELECT number, pg_column_size(message) AS size FROM outbox_event due
                   WHERE (leased_until IS NULL OR leased_until <= statement_timestamp())
                   AND dead_lettered_at IS NULL AND (NOT is_call OR function = $4)
                   AND (refusal IS NOT NULL OR NOT EXISTS (
                       SELECT FROM outbox_event earlier
                       WHERE earlier.partition_key = due.partition_key
                       AND earlier.number < due.number AND earlier.refusal IS NULL
                       AND earlier.leased_until > statement_timestamp()))
                   ORDER BY number LIMIT $1),
               taken AS (
                   SELECT number, sum(size) OVER oldest AS bytes, row_number() OVER oldest AS place
                   FROM due WINDOW oldest AS (ORDER BY number))
               UPDATE outbox_event SET leased_until = clock_timestamp() + make_interval(secs => $2)
               FROM taken
               WHERE outbox_event.number = taken.number AND (bytes <= $3 OR place = 1)
               RETURNING outbox_event.number, partition_key, message::text, attempts, refusal,
                         is_call, cause""",
            *(limit, LEASE_S, max_bytes, caller),
        )
    rows = sorted(rows, key=lambda row: int(row["number"]))
    return [await off_loop(len(row["message"]), _entry, row) for row in rows]


def _entry(row: Any) -> Entry:
    document = json.loads(row["message"])
    if "verbatim" in document:
        data = b64decode(document["data_base64"])
        message = cloudevents.as_received(document["verbatim"], data)
    else:
        message = cloudevents.from_json(document)
    return Entry(
        *(row["number"], row["partition_key"], message, row["attempts"], row["refusal"]),
        is_call=row["is_call"],
        cause=row["cause"] or "",
    )


async def prolong(store: Store, numbers: Sequence[int]) -> None:
    """Keep the lease on rows that are being sent."""
    async with store.connection() as connection:
        await connection.execute(
            """UPDATE outbox_event SET leased_until = clock_timestamp() + make_interval(secs => $2)
               WHERE number = ANY ($1::bigint[])""",
            *(list(numbers), LEASE_S),
        )


async def delete(store: Store, numbers: Sequence[int]) -> None:
    """Forget rows that were sent; after a crash of the server some of them may be there again."""
    async with store.connection() as connection:
        # The commit waits for no flush of the disk: what comes back is sent with the same id.
        await connection.execute(
            """WITH unflushed AS MATERIALIZED (
                   SELECT set_config('synchronous_commit', 'off', true))
               DELETE FROM outbox_event USING unflushed WHERE number = ANY ($1::bigint[])""",
            numbers,
        )


@dataclass(frozen=True)
class Unsent:
    """How many events of all functions of a database wait to be sent, and the oldest's age."""

    count: int
    oldest_s: float


async def unsent(store: Store, function: str | None = None) -> Unsent:
    """Of one function, or of all that share the database."""
    async with store.connection() as connection:
        row = await connection.fetchrow(
            """SELECT count(*) AS count,
                   coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS oldest_s
               FROM outbox_event
               WHERE dead_lettered_at IS NULL AND ($1::text IS NULL OR function = $1)""",
            function,
        )
    assert row is not None, "an aggregate has one row"
    return Unsent(row["count"], row["oldest_s"])


@dataclass(frozen=True)
class Waiting:
    """A row that is not sent: how often that was tried, and what came of the last attempt."""

    number: int
    attempts: int
    detail: str | None


async def first_of(store: Store, key: str) -> Waiting | None:
    """The row that holds up the others of its partition key."""
    async with store.connection() as connection:
        row = await connection.fetchrow(
            """SELECT number, attempts, detail FROM outbox_event
               WHERE partition_key = $1 AND refusal IS NULL ORDER BY number LIMIT 1""",
            key,
        )
    return None if row is None else Waiting(row["number"], row["attempts"], row["detail"])


async def refusals(store: Store, numbers: Sequence[int]) -> list[str]:
    """Why rows were refused for good, of those that were."""
    async with store.connection() as connection:
        rows = await connection.fetch(
            """SELECT detail FROM outbox_event
               WHERE number = ANY ($1::bigint[]) AND refusal IS NOT NULL ORDER BY number""",
            numbers,
        )
    return [str(row["detail"]) for row in rows]


async def postpone(store: Store, number: int, detail: str, again_in_s: float) -> None:
    """Record a failed attempt; the row is due again in so many seconds."""
    async with store.connection() as connection:
        await connection.execute(
            """UPDATE outbox_event SET attempts = attempts + 1, detail = $2,
                   leased_until = clock_timestamp() + make_interval(secs => $3)
               WHERE number = $1""",
            *(number, detail, again_in_s),
        )


async def refuse(store: Store, number: int, status: int, cause: str) -> None:
    """Record that the broker refuses an event for good: from now on it holds up no other."""
    async with store.connection() as connection:
        await connection.execute(
            "UPDATE outbox_event SET refusal = $2, cause = $3, attempts = 0 WHERE number = $1",
            *(number, status, without_nul(cause)),
        )


async def give_up(store: Store, number: int, status: int, detail: str) -> None:
    """Record that a service refuses a call for good; the row stays on record for as long."""
    async with store.connection() as connection:
        await connection.execute(
            """UPDATE outbox_event SET refusal = $2, detail = $3, leased_until = NULL,
                   dead_lettered_at = clock_timestamp()
               WHERE number = $1""",
            *(number, status, detail),
        )


async def dead_letter(store: Store, number: int) -> None:
    """Record that the dead letters have an event that the broker refused; the row stays on record.

    Retention deletes it.
    """
    async with store.connection() as connection:
        await connection.execute(
            """UPDATE outbox_event SET dead_lettered_at = clock_timestamp(), leased_until = NULL
               WHERE number = $1""",
            number,
        )


async def release(store: Store, numbers: Iterable[int]) -> None:
    """Give leased rows back: they are due at once, for any process."""
    async with store.connection() as connection:
        await connection.execute(
            "UPDATE outbox_event SET leased_until = NULL WHERE number = ANY ($1::bigint[])",
            list(numbers),
        )
