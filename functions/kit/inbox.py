"""Once, however often it is asked: the inbox, the journal of steps, and the record of runs.

The claim on an event is an inserted row of an open transaction, so it needs no lease: a process
that dies lets go of it at once, a second delivery waits on the row, and the answer is written in
the transaction that made the change.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from functions.kit.store import Store

if TYPE_CHECKING:
    from functions.kit.store import Connection

Work = Callable[["Connection"], Awaitable[Any]]


@dataclass(frozen=True)
class Key:
    """What makes two requests the same: within one function, a source and an id."""

    function: str
    source: str
    id: str


@dataclass(frozen=True)
class Answered:
    """An answer, and whether it was recorded by an earlier request."""

    answer: Any
    repeated: bool


async def once(store: Store, key: Key, kind: str, wait_s: float, work: Work) -> Answered:
    """Do `work` in a transaction and record its JSON answer, or return the recorded one.

    While the first is still at work, the second waits up to `wait_s` seconds, then raises
    `TemporaryError`. Work that raises leaves nothing behind.
    """
    began = time.perf_counter()
    async with store.transaction() as tx:
        await tx.execute(f"SET LOCAL lock_timeout = {max(1, int(wait_s * 1000))}")
        claimed = await tx.fetchval(
            """INSERT INTO inbox (function, source, id, type) VALUES ($1, $2, $3, $4)
               ON CONFLICT DO NOTHING RETURNING true""",
            *(key.function, key.source, key.id, kind),
        )
        if not claimed:
            recorded = await tx.fetchval(
                "SELECT answer FROM inbox WHERE function = $1 AND source = $2 AND id = $3",
                *(key.function, key.source, key.id),
            )
            return Answered(recorded, repeated=True)
        answer = await work(tx)
        await tx.execute(
            """UPDATE inbox SET answer = $4 WHERE function = $1 AND source = $2 AND id = $3""",
            *(key.function, key.source, key.id, answer),
        )
        took_ms = (time.perf_counter() - began) * 1000
        await _record(tx, key, kind, took_ms, "ok", None)
        return Answered(answer, repeated=False)


async def alone(tx: Connection, name: str) -> None:
    """Let one transaction at a time work under `name`; the others wait as `once` lets them."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", name)


async def record_failure(store: Store, key: Key, kind: str, took_ms: float, detail: str) -> None:
    """Remember a run that failed; its transaction is gone, so this is one of its own."""
    async with store.connection() as connection:
        await _record(connection, key, kind, took_ms, "failed", detail)


@dataclass(frozen=True)
class Wanted:
    """Which runs: ended at or after `since` and before `before`; `answers` adds what was said."""

    limit: int = 20
    since: datetime | None = None
    before: datetime | None = None
    answers: bool = False


async def runs(store: Store, function: str, wanted: Wanted) -> list[dict[str, Any]]:
    """The latest runs of a function, newest first, good and bad."""
    said, joined = "", ""
    if wanted.answers:
        said = ", CASE run.outcome WHEN 'ok' THEN inbox.answer END AS answer"
        joined = "LEFT JOIN inbox USING (function, source, id)"
    async with store.connection() as connection:
        rows = await connection.fetch(
            f"""SELECT source, id, run.type, ended_at, took_ms, outcome, detail {said}
                FROM run {joined}
                WHERE function = $1 AND ($3::timestamptz IS NULL OR ended_at >= $3)
                AND ($4::timestamptz IS NULL OR ended_at < $4)
                ORDER BY ended_at DESC, number DESC LIMIT $2""",
            *(function, wanted.limit, wanted.since, wanted.before),
        )
    return [dict(row) for row in rows]


async def tally(store: Store) -> list[dict[str, Any]]:
    """Of each function, type and outcome: when the latest run ended, and how many in a day."""
    async with store.connection() as connection:
        rows = await connection.fetch(
            """SELECT function, type, outcome, max(ended_at) AS ended_at,
                      count(*) FILTER (WHERE ended_at > now() - interval '1 day') AS runs
               FROM run GROUP BY function, type, outcome"""
        )
    return [dict(row) for row in rows]


async def forget(store: Store, function: str, days: int = 30) -> None:
    """Delete what is older than `days`: no broker and no service repeats itself for so long."""
    async with store.transaction() as tx:
        for table, column in (
            ("inbox", "received_at"),
            ("journal", "done_at"),
            ("run", "ended_at"),
        ):
            await tx.execute(
                f"""DELETE FROM {table} WHERE function = $1
                    AND {column} < now() - make_interval(days => $2)""",
                *(function, days),
            )


@dataclass(frozen=True)
class Step:
    """A step that is done: its JSON result, how long it took, and if an earlier run did it."""

    result: Any
    took_ms: float
    repeated: bool


@dataclass(frozen=True)
class Journal:
    """Steps of a longer piece of work; each outcome is a row, so a step that is done stays done."""

    store: Store
    function: str
    key: str

    async def step(self, name: str, work: Callable[[], Awaitable[Any]]) -> Step:
        """Do `work` and record its result, or return what is recorded."""
        async with self.store.connection() as connection:
            row = await connection.fetchrow(
                """SELECT result, took_ms FROM journal
                   WHERE function = $1 AND key = $2 AND step = $3""",
                *(self.function, self.key, name),
            )
        if row is not None:
            return Step(row["result"], row["took_ms"], repeated=True)
        began = time.perf_counter()
        result = await work()
        took_ms = round((time.perf_counter() - began) * 1000, 3)
        async with self.store.connection() as connection:
            await connection.execute(
                """INSERT INTO journal (function, key, step, result, took_ms)
                   VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING""",
                *(self.function, self.key, name, result, took_ms),
            )
        return Step(result, took_ms, repeated=False)


async def _record(
    connection: Connection, key: Key, kind: str, took_ms: float, outcome: str, detail: str | None
) -> datetime:
    ended: datetime = await connection.fetchval(
        """INSERT INTO run (function, source, id, type, took_ms, outcome, detail)
           VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING ended_at""",
        *(key.function, key.source, key.id, kind, round(took_ms, 3), outcome, detail),
    )
    return ended
