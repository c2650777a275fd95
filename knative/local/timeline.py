"""The time of a runtime: the machine's, or a virtual one that is advanced on demand.

A virtual clock goes at the machine's pace. While it is advanced it stands still at one moment
after the other: whatever is due happens alone and in order, and what follows from it is waited
for before the next moment comes.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

LONGEST_NAP_S = 20.0  # wake up now and then: a laptop sleeps, its clock is set

LOOKS = 10  # in a row that find nothing: an outbox sends a moment after its function has answered
BETWEEN_LOOKS_S = 0.005
IDLE_WITHIN_S = 60.0


async def wait_until_idle(busy: Callable[[], list[str]], timeout_s: float = IDLE_WITHIN_S) -> None:
    """Return when `busy` has been empty at several looks in a row.

    TimeoutError with its names when none that was never free before has become so in `timeout_s`:
    of many Jobs at once, each may take its time. Looks are counted, not seconds: a machine under
    load may let a second pass between two.
    """
    seen, ended = set[str](), set[str]()
    deadline, idle = time.monotonic() + timeout_s, 0
    while idle < LOOKS:
        names = set(busy())
        idle = 0 if names else idle + 1
        seen |= names
        if not seen - names <= ended:
            ended |= seen - names
            deadline = time.monotonic() + timeout_s
        if names and time.monotonic() > deadline:
            raise TimeoutError(f"{', '.join(sorted(names))} did not end in {timeout_s:g} s")
        await asyncio.sleep(BETWEEN_LOOKS_S)


Callback = Callable[[], object]  # False: it began nothing that would have to end


@dataclass(order=True)
class Timer:
    """Something to do at a time; what is due at the same one goes by name, then by age."""

    due: float  # seconds since 1970
    name: str
    number: int
    callback: Callback | None = field(compare=False)

    def cancel(self) -> None:
        self.callback = None


class Timeline:
    """`start`: where a virtual clock begins; None is the machine's clock.

    `file` gives processes the time of a virtual clock: `offset SECONDS` to the machine's time, or
    `at SECONDS` since 1970 while it stands still.
    """

    def __init__(
        self,
        start: datetime | None = None,
        file: Path | None = None,
        machine: Callable[[], float] = time.time,
    ) -> None:
        self._machine = machine
        self.is_virtual = start is not None
        self._began = time.monotonic()
        self._start = start.timestamp() if start else 0.0
        self._frozen: float | None = None  # the moment at which the clock stands still
        self._file = file if start else None
        self._timers: list[Timer] = []
        self._number = 0
        self._handle: asyncio.TimerHandle | None = None
        self._advancing = asyncio.Lock()
        self._write_file()

    def now(self) -> float:
        """Seconds since 1970."""
        if self._frozen is not None:
            return self._frozen
        return self._start + time.monotonic() - self._began if self.is_virtual else self._machine()

    def call_at(self, due: float, callback: Callback, name: str = "") -> Timer:
        """Have `callback` called at a time in seconds since 1970; cancel by the timer."""
        self._number += 1
        timer = Timer(due, name, self._number, callback)
        heapq.heappush(self._timers, timer)
        self._schedule()
        return timer

    @property
    def is_advancing(self) -> bool:
        return self._frozen is not None

    def call_later(
        self, delay_s: float, callback: Callable[[], None]
    ) -> Timer | asyncio.TimerHandle:
        """Have `callback` called in `delay_s` seconds, however the machine's clock is set."""
        if self.is_virtual:
            return self.call_at(self.now() + delay_s, callback)
        return asyncio.get_running_loop().call_later(delay_s, callback)

    async def advance(self, by_s: float, settled: Callable[[], Awaitable[None]]) -> int:
        """Let a virtual clock go on by `by_s` seconds; how many timers that made due.

        `settled` returns when all that follows from the last moment has ended; it is waited for
        before each moment. What it raises ends the advance at the moment that was reached.
        """
        async with self._advancing:
            target, made = self.now() + by_s, 0
            try:
                self._freeze(self.now())
                await settled()
                while (timer := self._next()) is not None and timer.due <= target:
                    self._freeze(max(timer.due, self.now()))
                    heapq.heappop(self._timers)
                    made += 1
                    if timer.callback is not None and timer.callback() is not False:
                        await settled()
                self._freeze(target)
            finally:
                self._start, self._began = self.now(), time.monotonic()
                self._frozen = None
                self._write_file()
                self._schedule()
        return made

    def close(self) -> None:
        """Call nothing any more."""
        self._timers.clear()
        if self._handle is not None:
            self._handle.cancel()

    def _next(self) -> Timer | None:
        while self._timers and self._timers[0].callback is None:
            heapq.heappop(self._timers)
        return self._timers[0] if self._timers else None

    def _freeze(self, moment: float) -> None:
        self._frozen = moment
        self._write_file()

    def _write_file(self) -> None:
        if self._file is None:
            return
        if self._frozen is not None:
            text = f"at {self._frozen}"
        else:
            text = f"offset {self.now() - self._machine()}"
        scratch = self._file.with_suffix(".new")
        scratch.write_text(text)
        scratch.replace(self._file)

    def _schedule(self) -> None:
        """Set the alarm for the next timer, unless time is being advanced."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._frozen is None and (timer := self._next()) is not None:
            wait_s = min(max(timer.due - self.now(), 0.0), LONGEST_NAP_S)
            self._handle = asyncio.get_running_loop().call_later(wait_s, self._run_due)

    def _run_due(self) -> None:
        self._handle = None
        while (timer := self._next()) is not None and timer.due <= self.now():
            heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback()
        self._schedule()
