"""`GET /metrics`: what this process has counted, and what its tables say, as Prometheus reads it.

Counting is plain dictionaries, as `prometheus-client` adds 18 ms to a cold start of 300 and takes
4 µs for each sample, which is a quarter of all that a small request costs. What remains is the
text, which is short; a test has `prometheus-client` read it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from functions.events.base import Event
from functions.events.schedule import ScheduleDue
from functions.kit.durable import history
from functions.kit.durable.outbox import unsent
from functions.kit.errors import FunctionError

if TYPE_CHECKING:
    from functions.kit.context import Context

logger = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MOST_SCHEDULES = 200
PATIENCE_S = 3.0  # with the tables: a scrape gives up after ten
KEPT_S = 5.0  # however often somebody asks, the tables are asked no more often
BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

# The answers that say what kind of failure it was; the contract of every function has them.
_KINDS = {
    400: "malformed",
    404: "not_found",
    409: "conflict",
    413: "too_large",
    422: "permanent",
    503: "temporary",
}


# The same of a run on record, by its error's class; whatever else there is was not foreseen.
_PERMANENT = (
    *("PermanentError", "NotFound", "Conflict", "TooLarge", "TooSlow", "CutShort", "BadAnswer"),
    "Refused",
    *("Forbidden", "NoRight", "QuotaUsedUp"),
)
_TEMPORARY = ("TemporaryError", "NotSent")
_ERRORS = {**dict.fromkeys(_TEMPORARY, "temporary"), **dict.fromkeys(_PERMANENT, "permanent")}


@dataclass(frozen=True)
class Gauge:
    """One number at this moment. Those of one name belong to one family and share their help."""

    name: str
    help: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    kind: str = "gauge"


Gauges = Callable[["Context"], Awaitable[Iterable[Gauge]]]


class Meter:
    """What one process has counted since it started."""

    def __init__(self) -> None:
        self.handled = 0
        # A kind that begins with 1 would be no increase to Prometheus: all begin with 0.
        self.failed = Counter(dict.fromkeys((*_KINDS.values(), "refused", "unexpected"), 0))
        self.events: Counter[tuple[str, str]] = Counter()
        self.in_flight = 0
        self.late_s: dict[str, float] = {}
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

    def event(self, event: Event, outcome: str, now: datetime) -> None:
        """An event has been handled, or not: `ok`, `repeated`, or the name of the error."""
        # The class's type, not the message's: a sender must not be able to make up series.
        self.events[type(event).type, outcome] += 1
        if isinstance(event, ScheduleDue) and (
            event.schedule in self.late_s or len(self.late_s) < MOST_SCHEDULES
        ):
            self.late_s[event.schedule] = (now - event.time).total_seconds()

    def gauges(self) -> list[Gauge]:
        """What goes up and down."""
        late = [_late(name, late_s) for name, late_s in self.late_s.items()]
        busy = Gauge("function_in_flight", "Requests being answered", self.in_flight)
        return [busy, *late]

    def text(self, labels: Mapping[str, str]) -> Iterator[str]:
        """Counters and the histogram."""
        yield from _head("function_handled_total", "counter", "Requests answered well")
        yield _sample("function_handled_total", labels, self.handled)
        yield from _head("function_failed_total", "counter", "Requests that failed, by kind")
        for kind, count in sorted(self.failed.items()):
            yield _sample("function_failed_total", {**labels, "kind": kind}, count)
        yield from _head("function_events_total", "counter", "Events, by type and what became")
        for (kind, outcome), count in sorted(self.events.items()):
            said = {**labels, "type": kind, "outcome": outcome}
            yield _sample("function_events_total", said, count)
        name = "function_duration_seconds"
        yield from _head(name, "histogram", "Seconds that a request took")
        total = 0
        for bound, count in zip((*BOUNDS_S, float("inf")), self._buckets, strict=True):
            total += count
            yield _sample(f"{name}_bucket", {**labels, "le": _number(bound)}, total)
        yield _sample(f"{name}_sum", labels, self._took_s)
        yield _sample(f"{name}_count", labels, total)


async def database(ctx: Context) -> list[Gauge]:
    """Whether this process reaches its database."""
    try:
        async with asyncio.timeout(PATIENCE_S / 2), ctx.store.connection() as connection:
            up = await connection.fetchval("SELECT 1")
    except (FunctionError, TimeoutError) as error:
        logger.warning("the database is away: %s", error)
        up = 0
    return [Gauge("function_database_up", "1 if the database answers, else 0", up)]


async def outbox(ctx: Context) -> list[Gauge]:
    """The outbox that the functions of this database share."""
    found = await unsent(ctx.store)
    oldest = "Seconds for which the oldest event has waited to be sent"
    return [
        Gauge("function_outbox_waiting", "Events that are not sent yet", found.count),
        Gauge("function_outbox_oldest_seconds", oldest, found.oldest_s),
    ]


async def runs(ctx: Context) -> list[Gauge]:
    """The record of runs of all functions of this database: it outlives every process."""
    tally: dict[tuple[tuple[str, str], ...], tuple[float, int]] = {}
    for row in await history.tally(ctx.store):
        name = row["function"].replace("_", "-")
        labels = {"target": name, "type": row["type"], "outcome": row["outcome"]}
        if row["error"]:
            labels["kind"] = _ERRORS.get(row["error"], "unexpected")
        last, count = tally.get(tuple(labels.items()), (0.0, 0))
        ended = row["ended_at"].timestamp()
        tally[tuple(labels.items())] = max(last, ended), count + row["runs"]
    found = []
    ended_words, day_words = "When a function's latest run ended", "Runs ended in the last 24 hours"
    for said, (last, count) in tally.items():
        found.append(Gauge("function_last_run_timestamp_seconds", ended_words, last, dict(said)))
        found.append(Gauge("function_runs_last_day", day_words, count, dict(said)))
    for row in await history.ticks(ctx.store):
        schedule = {"schedule": row["schedule"]}
        name, words = "function_schedule_last_timestamp_seconds", "When a schedule last was handled"
        found.append(Gauge(name, words, row["began_at"].timestamp(), schedule))
        found.append(_late(row["schedule"], row["late_s"]))
    return found


def _late(schedule: str, late_s: float) -> Gauge:
    words = "Seconds from a schedule's tick to the moment it was handled, at the latest tick"
    return Gauge("function_schedule_lateness_seconds", words, late_s, {"schedule": schedule})


class Tables:
    """What the tables say, read once for all who ask within a few seconds."""

    def __init__(self, readers: Sequence[Gauges], kept_s: float = KEPT_S) -> None:
        self._readers = readers
        self._kept_s = kept_s
        self._one = asyncio.Lock()
        self._read_at = float("-inf")
        self._found: list[Gauge] = []

    async def gauges(self, ctx: Context) -> list[Gauge]:
        """All of them; those that cannot be read are missing, which is itself a number."""
        async with self._one:
            if time.monotonic() - self._read_at >= self._kept_s:
                self._found = await self._read(ctx)
                self._read_at = time.monotonic()
            return self._found

    async def _read(self, ctx: Context) -> list[Gauge]:
        found: list[Gauge] = []
        unread = 0
        for read in self._readers:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    found += await read(ctx)
            except Exception as error:
                logger.warning("cannot read gauges: %s: %s", type(error).__name__, error)
                unread += 1
        words = "Groups of gauges that could not be read from the tables"
        return [*found, Gauge("function_unread_gauges", words, unread)]


async def page(ctx: Context, tables: Tables) -> str:
    """The whole page."""
    labels = {"function": ctx.function.replace("_", "-")}
    meter = ctx.resources.meter
    # What is on record outlives us: it comes last, and wins.
    found = [*meter.gauges(), *await tables.gauges(ctx)]
    return "\n".join((*meter.text(labels), *_families(found, labels), ""))


def _families(gauges: Iterable[Gauge], labels: Mapping[str, str]) -> Iterator[str]:
    """Samples of one family have to stand together."""
    families: dict[str, dict[frozenset[tuple[str, str]], Gauge]] = {}
    for gauge in gauges:
        families.setdefault(gauge.name, {})[frozenset(gauge.labels.items())] = gauge
    for name, members in families.items():
        first = next(iter(members.values()))
        yield from _head(name, first.kind, first.help)
        for gauge in members.values():
            yield _sample(name, {**labels, **gauge.labels}, gauge.value)


def _head(name: str, kind: str, words: str) -> tuple[str, str]:
    return f"# HELP {name} {words}", f"# TYPE {name} {kind}"


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    said = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{said}}} {_number(value)}"


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
