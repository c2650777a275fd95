"""The Broker: accepts events durably, and answers once all their deliveries have ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from knative.local.broker.courier import FAN_OUT_S, Courier
from knative.local.broker.event import (
    ARRIVAL,
    TTL,
    Event,
    IncompleteError,
    NotAnEventError,
    UnreadableError,
    decode,
    stamp,
    validate,
)
from knative.local.broker.http import Answer, Around, Headers, Send
from knative.local.broker.job import Flight, Job, Route
from knative.local.broker.journal import Journal
from knative.local.broker.lane import CallLater, Lane, call_later
from knative.local.broker.queries import Queries
from knative.local.broker.reader import OpenDelivery, Reader
from knative.local.broker.records import Change, State
from knative.local.broker.retention import RETENTION_S, sweep, sweep_forever
from knative.local.broker.spec import BrokerSpec, TriggerSpec
from knative.local.broker.store import Store, event_row
from knative.local.broker.watch import Watchers

logger = logging.getLogger(__name__)

MAX_TTL = 255
LOST = "lost with the memory of the Broker"
LANE_WIDTH = 1000  # deliveries of one Trigger at a time

T = TypeVar("T")

_ALLOW = (b"Allow", b"POST, OPTIONS")
_ANSWERS = {status: Answer(status, (_ALLOW,)) for status in (202, 400, 404, 405, 500, 503)}
_OPTIONS = Answer(200, (_ALLOW, (b"WebHook-Allowed-Origin", b"*"), (b"WebHook-Allowed-Rate", b"*")))


class LocalBroker(Queries):
    """Durable Brokers and their Triggers on one SQLite file; `send` is the only way out.

    `durable`: deliveries outlive the process; without it, those that were under way are lost, as
    with Knative's in-memory channel. Settled events are kept for `retention_s` seconds.
    `answers_before_retries`: a producer does not wait for a retry, whose time may be far away.
    Raises ValueError, naming Trigger and field, when a Trigger names no Broker here.
    """

    def __init__(
        self,
        store: Path,
        brokers: Iterable[BrokerSpec],
        triggers: Iterable[TriggerSpec],
        send: Send,
        *,
        around: Around | None = None,
        durable: bool = True,
        retention_s: float = RETENTION_S,
        lane_width: int = LANE_WIDTH,
        clock: Callable[[], float] = time.time,
        call_later: CallLater = call_later,
        answers_before_retries: bool = False,
    ) -> None:
        self._path = store
        self._send = send
        self._around = around
        self._durable = durable
        self._retention_s = retention_s
        self._clock = clock
        self._answers_before_retries = answers_before_retries
        specs = {(b.namespace, b.name): b for b in brokers}
        self._routes: dict[tuple[str, str], list[Route]] = {key: [] for key in specs}
        self._lanes: dict[str, tuple[Route, Lane[Job]]] = {}
        for trigger in triggers:
            key = (trigger.namespace, trigger.broker)
            if key not in specs:
                raise ValueError(
                    f"trigger {trigger.namespace}/{trigger.name}: broker {trigger.broker!r} "
                    f"does not exist in namespace {trigger.namespace}"
                )
            route = Route(trigger, specs[key])
            if route.key in self._lanes:
                raise ValueError(f"trigger {route.key}: there are two of this name")
            self._routes[key].append(route)
            self._lanes[route.key] = (route, Lane(self._deliver, lane_width, call_later))
        self._open: set[Job] = set()
        self._watchers = Watchers()
        self._running = False
        self._paused = False

    # -- life

    async def start(self) -> None:
        """Open the store and go on with every delivery that has not ended."""
        self._store = Store(self._path)
        self._journal = Journal(self._store.commit)
        self._reader = Reader(self._path, "broker-reader")
        self._lister = Reader(self._path, "broker-lister")
        self._courier = Courier(self, self._journal, self._send, self._clock, self._around)
        self._seq, self._delivery = await self._reader(Reader.last_ids)
        self._running, self._paused = True, False
        for left in await self._reader(Reader.open_deliveries):
            self._resume(left)
        if not self._durable:
            await self.lose_deliveries()
        sweeping = sweep_forever(self._journal, self._store, self._retention_s, self._clock)
        self._sweeping = asyncio.create_task(sweeping)

    async def pause(self, *, grace_s: float = 2.0) -> None:
        """Begin no further delivery; those that end within `grace_s` seconds need no repetition.

        Events are still accepted: who drains sends its last ones. They are stored and delivered
        after the next start, so their producers are answered at once.
        """
        self._paused = True
        self._sweeping.cancel()
        await asyncio.gather(*(lane.close(grace_s) for _, lane in self._lanes.values()))
        for job in self._open:
            if job.flight:
                job.flight.release(ok=self._durable)

    async def stop(self, *, grace_s: float = 2.0) -> None:
        """Pause, and accept nothing more."""
        if not self._paused:
            await self.pause(grace_s=grace_s)
        self._running = False
        self._watchers.close()
        try:
            await self._journal.close()
        finally:
            self._reader.close()
            self._lister.close()
            self._store.close()

    def settled(self) -> bool:
        """True when no delivery is pending or in flight and everything is stored."""
        return not self._open and self._journal.idle

    def in_flight(self) -> int:
        """How many deliveries go on without waiting for a time; 1 while some are being stored."""
        return sum(len(lane) for _, lane in self._lanes.values()) or int(not self._journal.idle)

    def retrying(self) -> int:
        """How many deliveries have failed at least once, and go on."""
        return sum(1 for job in self._open if job.attempts)

    async def lose_deliveries(self) -> int:
        """Lose what Knative's in-memory channel loses when its process is killed.

        Each delivery under way fails: its call is broken off, it is not retried and leaves no dead
        letter, and a producer that waits is answered 500. Returns how many there were.
        """
        for _, lane in self._lanes.values():
            lane.drop()
        lost = list(self._open)
        for job in lost:
            job.state = State.FAILED
            self._journal.open_batch().updates.append(job.update(self._clock(), LOST))
            self.finish(job)
        await self._journal.flush()
        return len(lost)

    async def redrive(self, seq: int | None = None) -> int:
        """Deliver again what was dead-lettered or failed: of one event, or all.

        Each goes to its Trigger with all of its retries anew. Returns how many there are.
        """
        begun = 0
        for left in await self._fresh(Reader.lost_deliveries, seq):
            route, _ = self._lanes.get(left.trigger, (None, None))
            if route is None or self._paused or any(job.id == left.id for job in self._open):
                continue
            left = replace(left, state=State.PENDING, base=left.attempts, error=None)
            job = Job.resumed(left, route)
            self._open.add(job)
            begun += 1

            def stored(error: Exception | None, job: Job = job) -> None:
                if error is None:
                    self._launch(job)
                else:
                    self._open.discard(job)

            batch = self._journal.open_batch(stored)
            batch.updates.append(job.update(self._clock(), None))
        return begun

    def _resume(self, left: OpenDelivery) -> None:
        route, lane = self._lanes.get(left.trigger, (None, None))
        if route is None or lane is None:
            logger.error("delivery %d failed: its trigger %s is gone", left.id, left.trigger)
            reason = "its trigger is gone"
            row = (State.FAILED, left.attempts, left.base, left.due, reason, left.error, left.id)
            self._journal.open_batch().updates.append(row)
            return
        job = Job.resumed(left, route)
        self._open.add(job)
        lane.push_later(job, left.due - self._clock())

    # -- in

    async def ingress(
        self,
        namespace: str,
        broker: str,
        method: str,
        headers: Headers,
        body: bytes,
        query: str = "",
    ) -> Answer:
        """What `POST /<namespace>/<broker>` answers, after all deliveries have ended.

        A producer that hangs up (a cancelled call) cancels no delivery.
        """
        if method != "POST":
            return _OPTIONS if method == "OPTIONS" else _ANSWERS[405]
        if not self._running:
            return _ANSWERS[503]
        try:
            event = decode(headers, body)
            validate(event)
            ttl = _next_ttl(event)
        except (NotAnEventError, UnreadableError, IncompleteError) as error:
            logger.info("event to %s/%s refused: %s", namespace, broker, error)
            return _ANSWERS[400]
        key = (namespace, f"{broker}?{query}" if query else broker)
        if key not in self._routes:
            logger.info("event to %s/%s refused: there is no such broker", *key)
            return _ANSWERS[404]
        flight = Flight()
        self._accept(key, event, ttl, flight)
        try:
            return _ANSWERS[202 if await flight.landed(FAN_OUT_S) else 500]
        except TimeoutError:
            return _ANSWERS[500]

    def _accept(
        self,
        key: tuple[str, str],
        event: Event,
        ttl: int,
        flight: Flight,
        cause: Job | None = None,
    ) -> None:
        """Store an event with its deliveries; they begin once it is durable.

        A reply is stored together with the end of the delivery that it answers.
        """
        now = self._clock()
        event.attributes.pop(TTL, None)
        event.attributes[ARRIVAL] = stamp(now)
        self._seq += 1
        seq = self._seq
        jobs = [
            Job(self._new_id(), seq, ttl, route, event, flight)
            for route in self._routes[key]
            if route.matches(event.attributes)
        ]

        def stored(error: Exception | None) -> None:
            if error is None:
                flight.expect(len(jobs))
                for job in jobs:
                    self._launch(job)
                if self._watchers:
                    self._watchers.tell(Change(seq, event.attributes["type"]))
            flight.finish(ok=error is None)
            if self._paused:
                flight.release(ok=self._durable and error is None)

        batch = self._journal.open_batch(stored)
        batch.events.append(event_row(seq, *key, now, ttl, cause.id if cause else None, event))
        batch.deliveries.extend(job.row(job.route.key, now) for job in jobs)

    def _new_id(self) -> int:
        self._delivery += 1
        return self._delivery

    def _launch(self, job: Job) -> None:
        self._open.add(job)
        self._lanes[job.route.key][1].push(job)

    # -- out: what the courier calls

    async def _deliver(self, job: Job) -> None:
        await self._courier.attempt(job)

    async def load(self, seq: int) -> Event:
        return await self._reader(Reader.event, seq)

    def take_reply(self, job: Job, reply: Event) -> None:
        """The subscriber's event enters the same Broker. Raises IncompleteError to refuse it."""
        validate(reply)
        if job.ttl <= 1:
            raise IncompleteError(f"{TTL} has run out")
        flight = job.flight or Flight()
        if job.flight:
            flight.expect(1)
        self._accept(job.route.broker, reply, job.ttl - 1, flight, cause=job)
        job.state = State.DELIVERED
        self._journal.open_batch().updates.append(job.update(self._clock(), None))
        self.finish(job)

    def finish(self, job: Job) -> None:
        self._open.discard(job)
        if job.flight:
            job.flight.finish(ok=job.state is not State.FAILED)
        if job.twice and job.state is State.DELIVERED:
            self._repeat(job)

    def go_on(self, job: Job, delay_s: float) -> None:
        if delay_s > 0 and self._answers_before_retries and job.flight:
            job.flight.release(ok=True)
        self._lanes[job.route.key][1].push_later(job, delay_s)

    def report(self, job: Job, event: Event, status: int | None, reason: str | None) -> None:
        if self._watchers:
            self._watchers.tell(
                Change(
                    job.seq,
                    event.attributes["type"],
                    job.id,
                    job.route.key,
                    job.state,
                    job.attempts,
                    status,
                    reason,
                )
            )

    def _repeat(self, job: Job) -> None:
        again = Job(self._new_id(), job.seq, job.ttl, job.route, job.event, repeated=True)
        self._open.add(again)

        def stored(error: Exception | None) -> None:
            if error is None:
                self._launch(again)

        batch = self._journal.open_batch(stored)
        batch.deliveries.append(again.row(job.route.key, self._clock()))

    # -- what can be read

    def follow(self) -> AsyncIterator[Change]:
        """Every change from now on, until the Broker stops."""
        return self._watchers.follow()

    async def _fresh(self, query: Callable[..., T], *arguments: object) -> T:
        await self._journal.flush()
        return await self._lister(query, *arguments)

    async def sweep(self) -> int:
        """Delete the settled events that are older than they need to be kept; returns how many."""
        return await sweep(self._journal, self._store, self._clock() - self._retention_s)


def _next_ttl(event: Event) -> int:
    try:
        ttl = int(event.attributes[TTL]) - 1
    except (KeyError, ValueError):
        return MAX_TTL
    if ttl <= 0:
        raise IncompleteError(f"{TTL} has run out")
    return ttl
