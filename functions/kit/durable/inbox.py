"""Once, however often it is asked: the inbox, the journal of steps, and the record of runs.

The claim on an event is an inserted row of an open transaction, so it needs no lease: a process
that dies lets go of it at once, a second delivery waits on the row, and the answer is written in
the transaction that made the change.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from functions.kit import wire
from functions.kit.durable.database import Store
from functions.kit.errors import FunctionError, PermanentError, TemporaryError, shortened

if TYPE_CHECKING:
    from functions.kit.durable.database import Connection

logger = logging.getLogger(__name__)

# What stands: done, and not undone since.
_DONE = """AND NOT (step = 'DO' AND NOT EXISTS (
    SELECT FROM journal AS undone WHERE undone.function = journal.function
    AND undone.key = journal.key AND undone.step = 'UNDO'))"""

Work = Callable[["Connection"], Awaitable[Any]]
T = TypeVar("T")

# What the server says when a lock is not free in time comes before asyncpg's own patience ends.
_GRACE_S = 5.0
_ALONE_S = 30.0

# Of a source and of an id, in characters: a row of an index holds 2,704 bytes.
MOST = 255

# Until when (`time.monotonic`) the request at hand waits for others, in all.
_until: ContextVar[float | None] = ContextVar("until", default=None)


@dataclass(frozen=True)
class Key:
    """What makes two requests the same: within one function, a source and an id.

    `event` is the source and id of the event at hand, where the key is another; `requested_by`
    the person who asked for it.
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
    """Refuse an event whose identity no index can hold; `NotAnEvent` says which part of it."""
    problems = [
        f"attribute {name} has {len(value)} characters, {MOST} are the most"
        for name, value in (("source", source), ("id", id_))
        if len(value) > MOST
    ]
    if "\x00" in source + id_:
        problems.append("attributes source and id must not contain the character U+0000")
    if problems:
        raise wire.NotAnEvent(problems)


async def once(
    store: Store, key: Key, kind: str, wait_s: float, work: Work, digest: str | None = None
) -> Answered:
    """Do `work` in a transaction and record its JSON answer, or return the recorded one.

    While the first is still at work, the second waits up to `wait_s` seconds, then raises
    `TemporaryError`; that is for this wait and the one of `alone` together. Work that raises
    leaves nothing behind. `digest` is of what was asked for: `PermanentError` where the answer
    that is recorded was given to something else.
    """
    began = time.perf_counter()
    waiting = _until.set(time.monotonic() + wait_s)
    try:
        async with store.transaction() as tx:
            left_s = await _wait_for_locks(tx)
            claimed = await tx.fetchval(
                """INSERT INTO inbox (function, source, id, type, digest)
                   VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING true""",
                *(key.function, key.source, key.id, kind, digest),
                timeout=left_s + _GRACE_S,
            )
            if not claimed:
                return await _recorded(tx, key, digest)
            return await _first(tx, key, kind, began, work)
    finally:
        _until.reset(waiting)


async def _first(tx: Connection, key: Key, kind: str, began: float, work: Work) -> Answered:
    answer = await work(tx)
    await tx.execute(
        """UPDATE inbox SET answer = $4 WHERE function = $1 AND source = $2 AND id = $3""",
        *(key.function, key.source, key.id, answer),
    )
    took_ms = (time.perf_counter() - began) * 1000
    await _record(tx, key, kind, took_ms, "ok", None)
    return Answered(answer, repeated=False)


async def _recorded(tx: Connection, key: Key, digest: str | None) -> Answered:
    row = await tx.fetchrow(
        "SELECT answer, digest FROM inbox WHERE function = $1 AND source = $2 AND id = $3",
        *(key.function, key.source, key.id),
    )
    if row is None:
        raise TemporaryError("the record of the same request is just being forgotten")
    if digest is not None and row["digest"] not in (None, digest):
        raise PermanentError(f"Idempotency-Key {key.id!r} was used for another request")
    return Answered(row["answer"], repeated=True)


async def alone(tx: Connection, *names: str) -> None:
    """Let one transaction at a time work under each name; the others wait as `once` lets them."""
    left_s = await _wait_for_locks(tx)
    # In one order, so that two who want the same names never wait for one another.
    await tx.execute(
        """SELECT pg_advisory_xact_lock(number) FROM (
               SELECT DISTINCT hashtextextended(name, 0) AS number
               FROM unnest($1::text[]) AS name ORDER BY number) AS ordered""",
        *(list(names),),
        timeout=left_s + _GRACE_S,
    )


async def _wait_for_locks(tx: Connection) -> float:
    """Wait for each lock, from now on, as long as the request may still wait: so many seconds."""
    until = _until.get()
    left_s = _ALONE_S if until is None else max(0.001, until - time.monotonic())
    await tx.execute(f"SET LOCAL lock_timeout = {max(1, int(left_s * 1000))}")
    return left_s


async def recorded(store: Store, key: Key, kind: str, work: Callable[[], Awaitable[T]]) -> T:
    """Do `work`, whose effects are safe to repeat, and remember that it ran and how it ended."""
    began = time.perf_counter()
    try:
        done = await work()
    except Exception as error:
        took_ms = (time.perf_counter() - began) * 1000
        await remember_failure(store, key, kind, took_ms, f"{type(error).__name__}: {error}")
        raise
    took_ms = (time.perf_counter() - began) * 1000
    async with store.connection() as connection:
        await _record(connection, key, kind, took_ms, "ok", None)
    return done


async def remember_failure(store: Store, key: Key, kind: str, took_ms: float, detail: str) -> None:
    """Record a run that failed, if that can be; its transaction is gone, so this is its own."""
    try:
        async with store.connection() as connection:
            await _record(connection, key, kind, took_ms, "failed", shortened(detail, 1000))
    except FunctionError as error:
        logger.warning("could not record the failed run: %s", error)


async def forget(store: Store, function: str, days: int = 30) -> None:
    """Delete what is older than `days`: no broker and no service repeats itself for so long.

    What a worker of sagas has done stays until it was undone so long ago: an undo may be asked for
    at any time.
    """
    async with store.transaction() as tx:
        for table, column, but in (
            ("inbox", "received_at", ""),
            ("journal", "done_at", _DONE),
            ("run", "ended_at", ""),
        ):
            await tx.execute(
                f"""DELETE FROM {table} WHERE function = $1
                    AND {column} < now() - make_interval(days => $2) {but}""",
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
            done = await self._done(connection, name)
        if done is not None:
            return done
        began = time.perf_counter()
        result = await work()
        took_ms = round((time.perf_counter() - began) * 1000, 3)
        async with self.store.connection() as connection:
            kept = await connection.fetchval(
                """INSERT INTO journal (function, key, step, result, took_ms)
                   VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING true""",
                *(self.function, self.key, name, result, took_ms),
            )
            # Somebody else did it meanwhile: all go on with the one result that is recorded.
            done = None if kept else await self._done(connection, name)
        return done or Step(result, took_ms, repeated=False)

    async def _done(self, connection: Connection, name: str) -> Step | None:
        row = await connection.fetchrow(
            """SELECT result, took_ms FROM journal
               WHERE function = $1 AND key = $2 AND step = $3""",
            *(self.function, self.key, name),
        )
        return None if row is None else Step(row["result"], row["took_ms"], repeated=True)


async def _record(
    connection: Connection, key: Key, kind: str, took_ms: float, outcome: str, detail: str | None
) -> None:
    # The column's default is when the transaction began, and so did the work.
    await connection.execute(
        """INSERT INTO run (function, source, id, type, took_ms, outcome, detail,
                            event_source, event_id, requested_by, ended_at)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, clock_timestamp())""",
        *(key.function, key.source, key.id, kind, round(took_ms, 3), outcome, detail),
        *(*(key.event or (key.source, key.id)), key.requested_by),
    )
