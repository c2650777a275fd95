"""Checkpoints: steps of a longer piece of work. Each outcome is a row, so a step is done once.

`call_once` is a call that must not be made twice, to a service that may know no Idempotency-Key. A
row before the call holds how things stood, a row after it what came of it. Where only the first is
there, a process or a connection ended in between: `look` finds out what became of the call.
Callers let one at a time do the same work (`Context.alone`).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from functions.kit.durable.cancellations import Name, check

if TYPE_CHECKING:
    from functions.kit.durable.database import Connection, Store

Json = Any


@dataclass(frozen=True)
class Step:
    """A step that is done: its JSON result, how long it took, and if an earlier run did it."""

    result: Any
    took_ms: float
    repeated: bool


@dataclass(frozen=True)
class Checkpoints:
    """Steps of a longer piece of work; each outcome is a row, so a step that is done stays done.

    None begins once `event`, which asked for the work, was taken back.
    """

    store: Store
    function: str
    key: str
    event: Name | None = None

    async def step(self, name: str, work: Callable[[], Awaitable[Any]]) -> Step:
        """Do `work` and record its result, or return what is recorded."""
        async with self.store.connection() as connection:
            await check(connection, self.event)
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
            # Another process did it meanwhile: all go on with the one result that is recorded.
            done = None if kept else await self._done(connection, name)
        return done or Step(result, took_ms, repeated=False)

    async def _done(self, connection: Connection, name: str) -> Step | None:
        row = await connection.fetchrow(
            """SELECT result, took_ms FROM journal
               WHERE function = $1 AND key = $2 AND step = $3""",
            *(self.function, self.key, name),
        )
        return None if row is None else Step(row["result"], row["took_ms"], repeated=True)


async def call_once(
    checkpoints: Checkpoints,
    name: str,
    *,
    before: Callable[[], Awaitable[Json]],
    call: Callable[[Json], Awaitable[Json]],
    look: Callable[[Json], Awaitable[Json | None]],
) -> Step:
    """The result of `call`, made once.

    `call` and `look` get what `before` returned. `look` returns the result of a call that was
    made, or None where it was not: then it is made now.
    """
    begun = await checkpoints.step(f"{name}:begun", before)

    async def work() -> Json:
        found = await look(begun.result) if begun.repeated else None
        return await call(begun.result) if found is None else found

    return await checkpoints.step(name, work)
