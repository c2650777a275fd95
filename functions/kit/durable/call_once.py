"""A call that must not be made twice, to a service that may know no Idempotency-Key.

A row before the call holds how things stood, a row after it what came of it. Where only the first
is there, a process or a connection ended in between: `look` finds out what became of the call.
Callers let one at a time do the same work (`Context.alone`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from functions.kit.durable.checkpoints import Checkpoints, Step

Json = Any


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
