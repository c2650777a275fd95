"""The inbox: which requests were answered, and how; a repeat gets the recorded answer.

A row is written by the transaction that makes the change, so the primary key is the fence: of two
that work on one event, one settles and the other takes its answer. Work that is all in tables may
happen in that transaction itself (`once`); other work is claimed first (`claim_work_settle`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from functions.kit import cloudevents
from functions.kit.durable.database import Store
from functions.kit.errors import (
    FunctionError,
    PermanentError,
    TemporaryError,
    kind_of,
    shortened,
)

if TYPE_CHECKING:
    from functions.kit.durable.database import Connection

logger = logging.getLogger(__name__)

Work = Callable[["Connection"], Awaitable[Any]]
T = TypeVar("T")

# The server's error, where a lock is not free in time, comes before asyncpg's own timeout.
_GRACE_S = 5.0

# Of a source and of an id: a row of an index holds 2,704 bytes.
MAX_CHARACTERS = 255


@dataclass(frozen=True)
class Key:
    """What makes two requests the same: within one function, a source and an id.

    `event` is the source and id of the event at hand, where the key is another; `requested_by`
    the user who requested it.
    """

    function: str
    source: str
    id: str
    event: tuple[str, str] | None = None
    requested_by: str | None = None


@dataclass(frozen=True)
class Answered:
    """An answer, and whether it was recorded by an earlier request."""

    answer: Any
    repeated: bool


def check(source: str, id_: str) -> None:
    """Refuse an event whose identity no index can hold; `NotAnEvent` names the part."""
    problems = [
        f"attribute {name} has {len(value)} characters, the maximum is {MAX_CHARACTERS}"
        for name, value in (("source", source), ("id", id_))
        if len(value) > MAX_CHARACTERS
    ]
    if "\x00" in source + id_:
        problems.append("attributes source and id must not contain the character U+0000")
    if problems:
        raise cloudevents.NotAnEvent(problems)


async def once(
    store: Store, key: Key, kind: str, wait_s: float, work: Work, digest: str | None = None
) -> Answered:
    """Do `work` in a transaction and record its JSON answer, or return the recorded one.

    While the first is still at work, the second waits up to `wait_s` seconds, then raises
    `TemporaryError`; so long `work` waits for each lock, too. Work that raises leaves nothing
    behind. `digest` is of what was asked for: `PermanentError` where the answer
    that is recorded was given to something else.
    """
    began = time.perf_counter()
    async with store.transaction() as tx:
        claimed = await tx.fetchval(
            """INSERT INTO inbox (function, source, id, type, digest)
               SELECT $1, $2, $3, $4, $5 FROM set_config('lock_timeout', $6, true)
               ON CONFLICT DO NOTHING RETURNING true""",
            *(key.function, key.source, key.id, kind, digest, str(max(1, int(wait_s * 1000)))),
            timeout=wait_s + _GRACE_S,
        )
        if not claimed:
            return await _recorded(tx, key, digest)
        return await _first(tx, key, kind, began, work, store.now)


async def _first(
    tx: Connection, key: Key, kind: str, began: float, work: Work, now: datetime | None
) -> Answered:
    answer = await work(tx)
    took_ms = (time.perf_counter() - began) * 1000
    await tx.execute(
        f"""WITH answered AS (
                UPDATE inbox SET answer = $13 WHERE function = $1 AND source = $2 AND id = $3)
            {_RECORD}""",
        *(*_run(key, kind, took_ms, now), answer),
    )
    return Answered(answer, repeated=False)


async def _recorded(tx: Connection, key: Key, digest: str | None) -> Answered:
    found = await find(tx, key, digest)
    if found is None:
        raise TemporaryError("the record of the same request is just being forgotten")
    return found


async def find(connection: Connection, key: Key, digest: str | None) -> Answered | None:
    """The answer that is recorded; `PermanentError` where it was given to something else."""
    row = await connection.fetchrow(
        "SELECT answer, digest FROM inbox WHERE function = $1 AND source = $2 AND id = $3",
        *(key.function, key.source, key.id),
    )
    if row is None:
        return None
    if digest is not None and row["digest"] not in (None, digest):
        raise PermanentError(f"Idempotency-Key {key.id!r} was used for another request")
    return Answered(row["answer"], repeated=True)


async def add(tx: Connection, key: Key, kind: str, answer: Any, digest: str | None) -> bool:
    """Record an answer; False where there is one already."""
    return bool(
        await tx.fetchval(
            """INSERT INTO inbox (function, source, id, type, answer, digest)
               VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING true""",
            *(key.function, key.source, key.id, kind, answer, digest),
        )
    )


Name = tuple[str, str]  # source and id


@dataclass(frozen=True, slots=True)
class Claim:
    """The identity of a request that shares its transaction with others, and its answer."""

    source: str
    id: str
    type: str
    answer: Any = None

    @property
    def name(self) -> Name:
        return self.source, self.id


async def add_all(tx: Connection, function: str, claims: Iterable[Claim]) -> set[Name]:
    """Record the answers to several requests; return the names of those that are new."""
    given = [{"source": c.source, "id": c.id, "type": c.type, "answer": c.answer} for c in claims]
    rows = await tx.fetch(
        """INSERT INTO inbox (function, source, id, type, answer)
           SELECT $1, source, id, type, answer
           FROM json_to_recordset($2) AS given (source text, id text, type text, answer json)
           ORDER BY source, id ON CONFLICT DO NOTHING RETURNING source, id""",
        *(function, given),
    )
    return {(row["source"], row["id"]) for row in rows}


async def find_all(tx: Connection, function: str, names: Iterable[Name]) -> dict[Name, Any]:
    """The answers that are recorded."""
    rows = await tx.fetch(
        f"""SELECT source, id, answer FROM inbox JOIN {_NAMED} USING (source, id)
            WHERE function = $1""",
        *(function, _named(names)),
    )
    return {(row["source"], row["id"]): row["answer"] for row in rows}


async def answer_all(
    tx: Connection, function: str, names: Iterable[Name], answer: Any
) -> set[Name]:
    """Record another answer to requests; return the names of those that had not got that one."""
    rows = await tx.fetch(
        f"""WITH found AS (
                SELECT source, id FROM inbox JOIN {_NAMED} USING (source, id)
                WHERE function = $1 AND answer::text IS DISTINCT FROM $3::json::text
                ORDER BY source, id FOR UPDATE OF inbox)
            UPDATE inbox SET answer = $3::json FROM found
            WHERE function = $1 AND inbox.source = found.source AND inbox.id = found.id
            RETURNING inbox.source, inbox.id""",
        *(function, _named(names), answer),
    )
    return {(row["source"], row["id"]) for row in rows}


async def forget_all(tx: Connection, function: str, names: Iterable[Name]) -> None:
    """Forget requests that were refused, which may be corrected and repeated."""
    await tx.execute(
        f"""DELETE FROM inbox USING {_NAMED}
            WHERE function = $1 AND inbox.source = given.source AND inbox.id = given.id""",
        *(function, _named(names)),
    )


_NAMED = "json_to_recordset($2) AS given (source text, id text)"


def _named(names: Iterable[Name]) -> list[dict[str, str]]:
    return [{"source": source, "id": id} for source, id in names]


async def recorded(store: Store, key: Key, kind: str, work: Callable[[], Awaitable[T]]) -> T:
    """Do `work`, whose effects are safe to repeat, and remember that it ran and how it ended."""
    began = time.perf_counter()
    try:
        done = await work()
    except Exception as error:
        await remember_failure(store, key, kind, (time.perf_counter() - began) * 1000, error)
        raise
    took_ms = (time.perf_counter() - began) * 1000
    async with store.connection() as connection:
        await record(connection, key, kind, took_ms, now=store.now)
    return done


async def remember_failure(
    store: Store, key: Key, kind: str, took_ms: float, failure: Exception
) -> None:
    """Record a run that failed, if that can be; its transaction is gone, so this is its own."""
    try:
        async with store.connection() as connection:
            await record(connection, key, kind, took_ms, failure, now=store.now)
    except FunctionError as error:
        logger.warning("could not record the failed run: %s", error)


# The column's default is when the transaction began, and so did the work.
_RECORD = """INSERT INTO run (function, source, id, type, took_ms, outcome, detail,
                              failure_kind, event_source, event_id, requested_by, ended_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
        coalesce($12::timestamptz, clock_timestamp()))"""


async def record(
    connection: Connection,
    key: Key,
    kind: str,
    took_ms: float,
    failure: Exception | None = None,
    *,
    now: datetime | None = None,
) -> None:
    """Add a run to the history: a good one, or one that ended with `failure`.

    `now`: when it ended, by default now by the database.
    """
    await connection.execute(_RECORD, *_run(key, kind, took_ms, now, failure))


def _run(
    key: Key, kind: str, took_ms: float, now: datetime | None, failure: Exception | None = None
) -> tuple[object, ...]:
    outcome: tuple[str | None, ...] = ("ok", None, None)
    if failure is not None:
        detail = shortened(f"{type(failure).__name__}: {failure}", 1000)
        outcome = ("failed", detail, kind_of(failure))
    return (
        *(key.function, key.source, key.id, kind, round(took_ms, 3), *outcome),
        *(*(key.event or (key.source, key.id)), key.requested_by, now),
    )
