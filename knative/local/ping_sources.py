"""Fires PingSources when they are due, as Knative's mtping adapter does.

A tick that falls into a time when the runtime is down is lost, as it is there. What was fired
is kept on disk, so that a clock set back, or a quick restart, fires nothing twice.

While a virtual clock is advanced and nothing happens, a PingSource with the annotation
`knative-local/idle-interval` fires so seldom only.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from knative.local.broker.http import Send
from knative.local.faults import Faults
from knative.local.manifests.sources import PingSource
from knative.local.tick import Tick, Ticks
from knative.local.timeline import Timeline, Timer

logger = logging.getLogger(__name__)

JITTER_S = 0.5
LATE_S = 60.0  # a tick that is so late is lost: the machine slept through it
USER = "local"  # who fires one by hand
AWAKE_S = 180.0  # so long after something has happened, nothing is idle


class Clock:
    """`put` and `drop` change the schedules at any time; `fire` sends a tick now.

    Until `start` nothing fires by itself.
    """

    def __init__(
        self, send: Send, memory: Path, timeline: Timeline, faults: Faults | None = None
    ) -> None:
        self._ticks = Ticks(send, timeline, faults)
        self._memory = memory
        self._timeline = timeline
        self._running = False
        self._sources: dict[str, PingSource] = {}
        self._timers: dict[str, Timer] = {}
        # What has an idle interval and is due at the same moment is fired together.
        self._together: dict[datetime, dict[str, PingSource]] = {}
        self._awake_until = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._firing = 0
        # A virtual clock has its own past each time.
        self._fired = {} if timeline.is_virtual else _read(memory)

    def start(self) -> None:
        """From now on schedules fire by themselves."""
        self._running = True
        for key, source in self._sources.items():
            self._arm(key, source)

    def put(self, source: PingSource) -> None:
        """Add a schedule, or replace the one of that name."""
        key = f"{source.namespace}/{source.name}"
        if self._sources.get(key) == source:
            return
        self.drop(key)
        self._sources[key] = source
        if self._running:
            self._arm(key, source)

    def drop(self, key: str) -> None:
        """Forget the schedule namespace/name."""
        self._sources.pop(key, None)
        for together in self._together.values():
            together.pop(key, None)
        if timer := self._timers.pop(key, None):
            timer.cancel()

    def schedules(self, number: int = 3) -> list[tuple[PingSource, list[datetime]]]:
        """Every schedule with its next due times (UTC), at most `number` of them."""
        return [(source, self._times(source, number)) for source in self._sources.values()]

    def _times(self, source: PingSource, number: int) -> list[datetime]:
        times: list[datetime] = []
        while len(times) < number and (due := source.spec.cron.after((times or [self.now()])[-1])):
            times.append(due)
        return times

    def find(self, name: str) -> PingSource:
        """The schedule `name` or `namespace/name`; LookupError lists those that exist."""
        found = [s for key, s in self._sources.items() if name in (key, s.name)]
        if len(found) != 1:
            known = ", ".join(sorted(self._sources)) or "none"
            problem = "is not unique" if found else "does not exist"
            raise LookupError(f"schedule {name!r} {problem}; there are: {known}")
        return found[0]

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._timeline.now(), UTC)

    async def close(self) -> None:
        """Fire no more; a tick that waits for its sink's answer waits no longer."""
        for key in list(self._sources):
            self.drop(key)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def wake(self) -> None:
        """Something has happened: fire each tick for a while."""
        self._awake_until = self._timeline.now() + AWAKE_S

    def _arm(self, key: str, source: PingSource) -> None:
        now, last = self.now(), self._fired.get(key)
        due = source.spec.cron.after(max(now, last) if last else now)
        if due is None:
            return
        if self._timeline.is_virtual and source.idle_interval_s:
            if due not in self._together:
                self._timeline.call_at(due.timestamp(), partial(self._fire_together, due), "~idle")
            self._together.setdefault(due, {})[key] = source
        else:
            call = partial(self._due, key, source, due)
            self._timers[key] = self._timeline.call_at(due.timestamp(), call, key)

    def _due(self, key: str, source: PingSource, due: datetime) -> None:
        self._remember(key, due)
        self._arm(key, source)
        self.wake()
        if (self.now() - due).total_seconds() <= LATE_S:
            self._begin(key, source)

    def _fire_together(self, due: datetime) -> bool:
        """Fire together what has an idle interval, unless it is left out; False if all of it is."""
        fired = False
        is_idle = self._timeline.is_advancing and due.timestamp() > self._awake_until
        for key, source in sorted(self._together.pop(due).items()):
            last, interval = self._fired.get(key), timedelta(seconds=source.idle_interval_s)
            if last is None or not is_idle or due - last >= interval:
                self._fired[key] = due
                self._begin(key, source)
                fired = True
            self._arm(key, source)
        return fired

    def _begin(self, key: str, source: PingSource) -> None:
        # The sink may answer after the next due time: a broker does so after all deliveries.
        task = asyncio.create_task(self._tick(key, source))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tick(self, key: str, source: PingSource) -> None:
        if not self._timeline.is_virtual:
            await asyncio.sleep(random.uniform(0, JITTER_S))
        try:
            tick = await self._ticks.fire(source)
        except Exception:
            logger.exception("schedule %s: the tick is lost", key)
            return
        if not tick.accepted:
            logger.error("schedule %s: the tick is lost, the sink said %s", key, tick.status)

    def _remember(self, key: str, due: datetime) -> None:
        self._fired[key] = due
        if self._timeline.is_virtual:
            return
        text = json.dumps({key: due.isoformat() for key, due in self._fired.items()})
        scratch = self._memory.with_suffix(".tmp")
        try:
            scratch.write_text(text)
            scratch.replace(self._memory)
        except OSError as error:  # a full disk costs the memory, not the schedule
            logger.error("cannot write %s: %s", self._memory, error)

    @property
    def busy(self) -> bool:
        """A tick is on its way."""
        return bool(self._tasks or self._firing)

    async def fire(self, source: PingSource) -> Tick:
        """Send one tick now, as a user's request, with the adapter's retries."""
        self._firing += 1
        try:
            return await self._ticks.fire(source, requested_by=USER)
        finally:
            self._firing -= 1


def _read(memory: Path) -> dict[str, datetime]:
    try:
        held = json.loads(memory.read_text())
        return {key: datetime.fromisoformat(text) for key, text in held.items()}
    except (OSError, ValueError):
        return {}
