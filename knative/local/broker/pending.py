"""A delivery at work, and the producer that waits for it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass
from typing import Any

from knative.local.broker.event import TTL, Event
from knative.local.broker.http import Headers
from knative.local.broker.outcome import ErrorInfo
from knative.local.broker.reader import OpenDelivery
from knative.local.broker.records import State
from knative.local.broker.route import Route


class Completion:
    """What a producer waits for: one event, its deliveries, and those of all replies to it."""

    __slots__ = ("_done", "_failed", "_open")

    def __init__(self) -> None:
        self._open = 1  # the acceptance itself
        self._failed = False
        self._done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def expect(self, deliveries: int) -> None:
        self._open += deliveries

    def finish(self, *, ok: bool) -> None:
        self._open -= 1
        self._failed = self._failed or not ok
        if not self._open and not self._done.done():
            self._done.set_result(not self._failed)

    def release(self, *, ok: bool) -> None:
        """Wait no longer: its deliveries go on after the next start, or (not `ok`) are lost."""
        if not self._done.done():
            self._done.set_result(ok)

    async def completed(self, timeout_s: float) -> bool:
        """True when all ended well. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            return await self._done


@dataclass(slots=True, eq=False)
class PendingDelivery:
    """One delivery. `event` is loaded from the store when it is None."""

    id: int
    seq: int
    ttl: int
    route: Route
    event: Event | None
    completion: Completion | None = None
    repeated: bool = False
    twice: bool = False  # to be made once more, after it succeeded
    state: State = State.PENDING
    attempts: int = 0
    base: int = 0  # attempts made before dead-lettering began
    error: ErrorInfo | None = None

    @classmethod
    def resumed(cls, left: OpenDelivery, route: Route) -> PendingDelivery:
        """A delivery from the store; its producer is gone."""
        delivery = cls(left.id, left.event, left.ttl, route, event=None, repeated=left.repeated)
        delivery.state, delivery.attempts, delivery.base = left.state, left.attempts, left.base
        delivery.error = ErrorInfo(**json.loads(left.error)) if left.error else None
        return delivery

    def request(self, event: Event) -> tuple[str, Headers, bytes]:
        """Where this delivery goes next, and with which headers and body."""
        route = self.route
        if self.state is State.DEAD_LETTERING:
            extra = {TTL: str(self.ttl)} | (self.error.attributes() if self.error else {})
            dead_letter = Event(event.attributes | extra, event.data, event.headers)
            sink = route.delivery.dead_letter_uri or ""
            return sink, [*dead_letter.wire_headers(), *route.sink_headers], event.data
        if route.structured:
            kind = (b"Content-Type", b"application/cloudevents+json")
            return route.url, [kind, *event.headers, *route.headers], event.structured()
        return route.url, [*event.wire_headers(), *route.headers], event.data

    def row(self, trigger: str, due: float) -> tuple[Any, ...]:
        """The row of a new delivery."""
        return (self.id, self.seq, trigger, int(self.repeated), due)

    def update(self, due: float, reason: str | None) -> tuple[Any, ...]:
        """The row of this delivery's new state."""
        error = json.dumps(asdict(self.error)) if self.error else None
        return (self.state, self.attempts, self.base, due, reason, error, self.id)
