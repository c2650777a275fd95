"""Fires PingSources when they are due, as Knative's mtping adapter does.

A tick that falls into a time when the runtime is down is lost, as it is there. What was fired
is kept on disk, so that a clock set back, or a quick restart, fires nothing twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from knative.local.broker.event import stamp
from knative.local.broker.http import Answer, Send
from knative.local.manifests.admission import RESERVED
from knative.local.manifests.references import address
from knative.local.manifests.sources import PingSource
from knative.local.timeline import Timeline, Timer

logger = logging.getLogger(__name__)

JITTER_S = 0.5
# What the CloudEvents SDK retries, and when: +0.1, 0.3, 0.7, 1.5 and 3.1 s after the first try.
RETRIED = frozenset({404, 413, 425, 429, 502, 503, 504})
PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6)
LATE_S = 60.0  # a tick that is so late is lost: the machine slept through it


@dataclass(frozen=True)
class Tick:
    """One firing: the event's id, and the status that it ended with (None: no connection)."""

    schedule: str
    id: str
    status: int | None

    @property
    def accepted(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Clock:
    """`put` and `drop` change the schedules at any time; `fire` sends a tick now.

    Until `start` nothing fires by itself.
    """

    def __init__(self, send: Send, memory: Path, timeline: Timeline) -> None:
        self._send = send
        self._memory = memory
        self._timeline = timeline
        self._running = False
        self._sources: dict[str, PingSource] = {}
        self._timers: dict[str, Timer] = {}
        self._ticks: set[asyncio.Task[None]] = set()
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
        for task in self._ticks:
            task.cancel()
        await asyncio.gather(*self._ticks, return_exceptions=True)

    def _arm(self, key: str, source: PingSource) -> None:
        now, last = self.now(), self._fired.get(key)
        if due := source.spec.cron.after(max(now, last) if last else now):
            call = partial(self._due, key, source, due)
            self._timers[key] = self._timeline.call_at(due.timestamp(), call, key)

    def _due(self, key: str, source: PingSource, due: datetime) -> None:
        self._remember(key, due)
        self._arm(key, source)
        if (self.now() - due).total_seconds() > LATE_S:
            return
        # The sink may answer after the next due time: a broker does so after all deliveries.
        task = asyncio.create_task(self._tick(key, source))
        self._ticks.add(task)
        task.add_done_callback(self._ticks.discard)

    async def _tick(self, key: str, source: PingSource) -> None:
        if not self._timeline.is_virtual:
            await asyncio.sleep(random.uniform(0, JITTER_S))
        try:
            tick = await self.fire(source)
        except Exception:
            logger.exception("schedule %s: the tick is lost", key)
            return
        if not tick.accepted:
            logger.error("schedule %s: the tick is lost, the sink said %s", key, tick.status)

    def _remember(self, key: str, due: datetime) -> None:
        self._fired[key] = due
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
        return bool(self._ticks or self._firing)

    async def fire(self, source: PingSource) -> Tick:
        """Send one tick now, with the adapter's retries."""
        self._firing += 1
        try:
            return await self._fire(source)
        finally:
            self._firing -= 1

    def _id(self, source: PingSource) -> str:
        """An id for a tick; of a virtual time the same one in each run."""
        if not self._timeline.is_virtual:
            return str(uuid.uuid4())
        name = f"{source.namespace}/{source.name} {self.now().isoformat()}"
        return str(uuid.uuid5(uuid.NAMESPACE_OID, name))

    async def _fire(self, source: PingSource) -> Tick:
        ident = self._id(source)
        if not RESERVED.isdisjoint(name.lower() for name in source.spec.ce_overrides.extensions):
            return Tick(f"{source.namespace}/{source.name}", ident, None)
        url = address(source.spec.sink, source.namespace)
        headers = _headers(source, ident, self.now())
        status: int | None = None
        for pause_s in (*PAUSES_S, None):
            with contextlib.suppress(OSError):
                answer: Answer = await self._send("POST", url, headers, source.spec.body, None)
                status = answer.status
            if pause_s is None or not (status is None or status in RETRIED):
                break
            await asyncio.sleep(pause_s)
        return Tick(f"{source.namespace}/{source.name}", ident, status)


def _headers(source: PingSource, ident: str, now: datetime) -> list[tuple[bytes, bytes]]:
    place = f"/apis/v1/namespaces/{source.namespace}/pingsources/{source.name}"
    attributes = {
        "ce-specversion": "1.0",
        "ce-id": ident,
        "ce-type": "dev.knative.sources.ping",
        "ce-source": place,
        "ce-time": stamp(now.timestamp()),
        "kn-namespace": source.namespace,
    }
    if source.spec.content_type:
        attributes["content-type"] = source.spec.content_type
    for name, value in source.spec.ce_overrides.extensions.items():
        attributes[f"ce-{name.lower()}"] = value
    return [(name.encode(), value.encode()) for name, value in attributes.items()]


def _read(memory: Path) -> dict[str, datetime]:
    try:
        held = json.loads(memory.read_text())
        return {key: datetime.fromisoformat(text) for key, text in held.items()}
    except (OSError, ValueError):
        return {}
