"""Bounded concurrency for the deliveries of one Trigger.

The bound is per Trigger and not for all, because subscribers may publish while they handle an
event and wait for that delivery in turn: one bound for all would let them wait for one another.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class Handle(Protocol):
    """A call to come."""

    def cancel(self) -> None: ...


CallLater = Callable[[float, Callable[[], None]], Handle]


def call_later(delay_s: float, callback: Callable[[], None]) -> Handle:
    """Have `callback` called in `delay_s` seconds."""
    return asyncio.get_running_loop().call_later(delay_s, callback)


class ConcurrencyLimiter(Generic[T]):
    """Runs `work` for each item, at most `width` at a time; the others wait in order."""

    def __init__(
        self,
        work: Callable[[T], Coroutine[None, None, None]],
        width: int,
        call_later: CallLater = call_later,
    ) -> None:
        self._call_later = call_later
        self._work = work
        self._width = width
        self._waiting: deque[T] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._timers: dict[T, Handle] = {}
        self._closed = False

    def push(self, item: T) -> None:
        self._timers.pop(item, None)
        if self._closed:
            return
        if len(self._running) < self._width:
            self._start(item)
        else:
            self._waiting.append(item)

    def push_later(self, item: T, delay_s: float) -> None:
        if delay_s <= 0:
            self.push(item)
        else:
            self._timers[item] = self._call_later(delay_s, partial(self.push, item))

    def __len__(self) -> int:
        """How many items run, or wait for nothing but their turn."""
        return len(self._running) + len(self._waiting)

    def drop(self) -> None:
        """Forget what waits, and break off what runs."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._waiting.clear()
        for task in self._running:
            task.cancel()

    async def close(self, grace_s: float) -> None:
        """Start nothing more; wait `grace_s` seconds for what runs, then cancel it."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._waiting.clear()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=grace_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    def _start(self, item: T) -> None:
        task = asyncio.get_running_loop().create_task(self._work(item))
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if self._waiting and not self._closed:
            self._start(self._waiting.popleft())
        if not task.cancelled() and (error := task.exception()):
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a delivery broke off", "exception": error, "task": task}
            )
