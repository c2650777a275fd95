"""How fast one installation of an App, or a token, is asked: slower than GitHub refuses.

Source: docs.github.com, "Rate limits for the REST API" and "Best practices for using the REST API":
900 points a minute, of which a read costs one and a change five; 80 requests a minute and 500 an
hour that create content; changes one after the other, a second apart.

A change that may wait, as an edit that only shows progress, takes no more than `MINOR_SHARE` of the
hour: the rest is left to what users wait for.

The state is of the process, which costs no query for each request. A process therefore takes its
share of each limit only: agent-status and agent-outputs write, each in one process.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from functions.kit.clients.github_limits import PutOff, RateLimited

READ_POINTS, CHANGE_POINTS = 1, 5
# A caller waits so long in place; for more it comes again.
MAX_WAIT_S = 10.0
MINOR_SHARE = 0.5


class Window:
    """At most `max_count` in `seconds`."""

    def __init__(self, seconds: float, max_count: float) -> None:
        self._seconds = seconds
        self._max = max(1, int(max_count))
        self._times: deque[float] = deque()

    def free_at(self, count: int, share: float = 1.0) -> float:
        """The time from which on so many more fit into this share of the window.

        >>> window = Window(60, 6)
        >>> window.add(5, 100.0)
        >>> window.free_at(1), window.free_at(2)
        (0.0, 160.0)
        """
        over = len(self._times) + count - max(count, int(self._max * share))
        return self._times[over - 1] + self._seconds if over > 0 else 0.0

    def add(self, count: int, now: float) -> None:
        while self._times and (
            self._times[0] <= now - self._seconds or len(self._times) + count > self._max
        ):
            self._times.popleft()
        self._times.extend([now] * count)


class Pace:
    """The requests of one installation or token. `clock` is in seconds, of any beginning."""

    def __init__(
        self,
        share: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._points = Window(60, max(CHANGE_POINTS, 900 * share))
        self._pause = Window(1 / share, 1)
        self._minute, self._hour = Window(60, 80 * share), Window(3600, 500 * share)
        self._change = asyncio.Lock()

    @asynccontextmanager
    async def content(self, *, minor: bool = False) -> AsyncIterator[None]:
        """Hold this while content is changed; `RateLimited` where its turn is not soon, `PutOff`
        where it is `minor` and what remains of the hour is for changes that are not."""
        async with self._change:
            delay_s = self._hour.free_at(1, MINOR_SHARE) - self._clock() if minor else 0.0
            if delay_s > 0:
                raise PutOff(f"other changes come first for {delay_s:.0f} s", delay_s=delay_s)
            await self._turn(1, (self._pause, self._minute, self._hour))
            try:
                yield
            finally:
                # From the answer on, as requests may take long.
                self._pause.add(1, self._clock())

    async def points(self, count: int) -> None:
        """Wait until a request of so many points may be sent, or `RateLimited`."""
        await self._turn(count, (self._points,))

    async def _turn(self, count: int, windows: tuple[Window, ...]) -> None:
        while (remaining_s := max(w.free_at(count) for w in windows) - self._clock()) > 0:
            if remaining_s > MAX_WAIT_S:
                raise RateLimited(
                    f"GitHub's limits leave no room for {remaining_s:.0f} s", delay_s=remaining_s
                )
            await self._sleep(remaining_s)
        for window in windows:
            window.add(count, self._clock())
