"""Many small pieces of work, a few at a time, in memory that does not grow with their number."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def each(items: Iterable[T], work: Callable[[T], Awaitable[R]], workers: int) -> list[R]:
    """The results of `work` in the order of `items`; the first error ends the rest."""
    waiting = iter(enumerate(items))
    done: dict[int, R] = {}

    async def worker() -> None:
        for number, item in waiting:
            done[number] = await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(worker())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [done[number] for number in range(len(done))]
