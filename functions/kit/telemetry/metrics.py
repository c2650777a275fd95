"""What a process counts, and the text in which Prometheus reads it.

Counting is plain dictionaries (DECISIONS 14); the text is short, and a test has
`prometheus-client` read it.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from functions.events.base import Event
from functions.events.schedule import ScheduleDue

MAX_SCHEDULES = 200
BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

# The answers that say what kind of failure it was; the contract of every function has them.
_KINDS = {
    400: "malformed",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    413: "too_large",
    422: "permanent",
    503: "temporary",
}


@dataclass(frozen=True)
class Gauge:
    """One number at this moment. Those of one name belong to one family and share their help."""

    name: str
    help: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    kind: str = "gauge"


class Meter:
    """What one process has counted since it started."""

    def __init__(self) -> None:
        self.handled = 0
        # A kind that begins with 1 would be no increase to Prometheus: all begin with 0.
        self.failed = Counter(dict.fromkeys((*_KINDS.values(), "refused", "unexpected"), 0))
        self.events: Counter[tuple[str, str]] = Counter()
        self.in_flight = 0
        self.late_s: dict[str, float] = {}
        self._working: dict[object, float] = {}  # when each began, the oldest first
        self._buckets = [0] * (len(BOUNDS_S) + 1)
        self._took_s = 0.0

    async def measured(self, app: Any, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request of an ASGI application."""
        status = 500

        async def watched(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self.in_flight += 1
        began = time.perf_counter()
        try:
            await app(scope, receive, watched)
        finally:
            took_s = time.perf_counter() - began
            self.in_flight -= 1
            self._took_s += took_s
            self._buckets[bisect_left(BOUNDS_S, took_s)] += 1
            if status < 400:
                self.handled += 1
            else:
                self.failed[_kind(status)] += 1

    @contextmanager
    def working(self) -> Iterator[None]:
        """Inside, an event is being worked on: it was accepted and is not settled."""
        event = object()
        self._working[event] = time.monotonic()
        try:
            yield
        finally:
            del self._working[event]

    @property
    def inbox(self) -> tuple[int, float]:
        """How many events are being worked on, and for how many seconds the oldest; 0 of none."""
        oldest = next(iter(self._working.values()), None)
        return len(self._working), 0.0 if oldest is None else time.monotonic() - oldest

    def event(self, event: Event, outcome: str, now: datetime) -> None:
        """Count an event that was handled, or not: `ok`, `repeated`, or the name of the error."""
        # The class's type, not the message's: a sender must not be able to make up series.
        self.events[type(event).type, outcome] += 1
        if isinstance(event, ScheduleDue) and (
            event.schedule in self.late_s or len(self.late_s) < MAX_SCHEDULES
        ):
            self.late_s[event.schedule] = (now - event.time).total_seconds()

    def gauges(self) -> list[Gauge]:
        """What goes up and down."""
        late = [lateness(name, late_s) for name, late_s in self.late_s.items()]
        busy = Gauge("function_in_flight", "Requests being answered", self.in_flight)
        count, oldest_s = self.inbox
        oldest = "Seconds for which the oldest event has been worked on"
        return [
            busy,
            Gauge("function_inbox_working", "Events that are being worked on", count),
            Gauge("function_inbox_oldest_seconds", oldest, oldest_s),
            *late,
        ]

    def text(self, labels: Mapping[str, str]) -> Iterator[str]:
        """Counters and the histogram."""
        yield from _head("function_handled_total", "counter", "Requests answered well")
        yield _sample("function_handled_total", labels, self.handled)
        yield from _head("function_failed_total", "counter", "Requests that failed, by kind")
        for kind, count in sorted(self.failed.items()):
            yield _sample("function_failed_total", {**labels, "kind": kind}, count)
        yield from _head("function_events_total", "counter", "Events, by type and what became")
        for (kind, outcome), count in sorted(self.events.items()):
            own = {"type": kind, "outcome": outcome}
            yield _sample("function_events_total", {**labels, **own}, count)
        name = "function_duration_seconds"
        yield from _head(name, "histogram", "Seconds that a request took")
        total = 0
        for bound, count in zip((*BOUNDS_S, float("inf")), self._buckets, strict=True):
            total += count
            yield _sample(f"{name}_bucket", {**labels, "le": _number(bound)}, total)
        yield _sample(f"{name}_sum", labels, self._took_s)
        yield _sample(f"{name}_count", labels, total)


def lateness(schedule: str, late_s: float) -> Gauge:
    help_ = "Seconds from a schedule's tick to the moment it was handled, at the latest tick"
    return Gauge("function_schedule_lateness_seconds", help_, late_s, {"schedule": schedule})


def families(gauges: Iterable[Gauge], labels: Mapping[str, str]) -> Iterator[str]:
    """Samples of one family have to stand together."""
    families: dict[str, dict[frozenset[tuple[str, str]], Gauge]] = {}
    for gauge in gauges:
        families.setdefault(gauge.name, {})[frozenset(gauge.labels.items())] = gauge
    for name, members in families.items():
        first = next(iter(members.values()))
        yield from _head(name, first.kind, first.help)
        for gauge in members.values():
            yield _sample(name, {**labels, **gauge.labels}, gauge.value)


def _head(name: str, kind: str, help_: str) -> tuple[str, str]:
    return f"# HELP {name} {help_}", f"# TYPE {name} {kind}"


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{shown}}} {_number(value)}"


def _number(value: float) -> str:
    """As Prometheus writes numbers.

    >>> _number(3.0), _number(0.25), _number(float("inf"))
    ('3', '0.25', '+Inf')
    """
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _kind(status: int) -> str:
    return _KINDS.get(status, "refused" if status < 500 else "unexpected")
