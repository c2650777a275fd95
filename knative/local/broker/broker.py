"""The Broker: accepts events durably, and answers once all their deliveries have ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from knative.local.broker import ingress
from knative.local.broker.dispatcher import FAN_OUT_S, Dispatcher
from knative.local.broker.event import ARRIVAL, TTL, Event, IncompleteError, stamp, validate
from knative.local.broker.http import Answer, Around, Headers, Send
from knative.local.broker.journal import Journal
from knative.local.broker.limiter import CallLater, ConcurrencyLimiter, call_later
from knative.local.broker.pending import Completion, PendingDelivery
from knative.local.broker.queries import Queries
from knative.local.broker.reader import OpenDelivery, Reader
from knative.local.broker.records import Change, State
from knative.local.broker.retention import RETENTION_S, sweep, sweep_forever
from knative.local.broker.route import routes_of
from knative.local.broker.sink_away import PAUSE_S, try_forever
from knative.local.broker.spec import BrokerSpec, TriggerSpec
from knative.local.broker.store import Store, event_row
from knative.local.broker.watch import Watchers

logger = logging.getLogger(__name__)

LOST = "lost with the memory of the Broker"
CONCURRENCY = 1000  # deliveries of one Trigger at a time

T = TypeVar("T")


class LocalBroker(Queries):
    """Durable Brokers and their Triggers on one SQLite file; `send` is the only way out.

    `durable`: deliveries outlive the process; without it, those that were under way are lost, as
    with Knative's in-memory channel. Settled events are kept for `retention_s` seconds.
    `answers_before_retries`: a producer does not wait for a retry, whose time may be far away.
    A dead letter sink that is away is tried every `sink_pause_s` seconds.
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
        concurrency: int = CONCURRENCY,
        clock: Callable[[], float] = time.time,
        call_later: CallLater = call_later,
        answers_before_retries: bool = False,
        sink_pause_s: float = PAUSE_S,
    ) -> None:
        self._path = store
        self._send = send
        self._around = around
        self._durable = durable
        self._retention_s = retention_s
        self._clock = clock
        self._answers_before_retries = answers_before_retries
        self._sink_pause_s = sink_pause_s
        self._routes = routes_of(brokers, triggers)
        self._limiters = {
            route.key: (route, ConcurrencyLimiter(self._deliver, concurrency, call_later))
            for routes in self._routes.values()
            for route in routes
        }
        self._open: set[PendingDelivery] = set()
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
        self._dispatcher = Dispatcher(self, self._journal, self._send, self._clock, self._around)
        self._seq, self._delivery = await self._reader(Reader.last_ids)
        self._running, self._paused = True, False
        for left in await self._reader(Reader.open_deliveries):
            self._resume(left)
        if not self._durable:
            await self.lose_deliveries()
        sweeping = sweep_forever(self._journal, self._store, self._retention_s, self._clock)
        self._tasks = [asyncio.create_task(sweeping)]
        if self._durable:
            trying = try_forever(self._try_sinks, self._sink_pause_s)
            self._tasks.append(asyncio.create_task(trying))

    async def pause(self, *, grace_s: float = 2.0) -> None:
        """Begin no further delivery; those that end within `grace_s` seconds need no repetition.

        Events are still accepted: who drains sends its last ones. They are stored and delivered
        after the next start, so their producers are answered at once.
        """
        self._paused = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(limiter.close(grace_s) for _, limiter in self._limiters.values()))
        for delivery in self._open:
            if delivery.completion:
                delivery.completion.release(ok=self._durable)

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
        return sum(len(limiter) for _, limiter in self._limiters.values()) or int(
            not self._journal.idle
        )

    def retrying(self) -> int:
        """How many deliveries have failed at least once, and go on."""
        return sum(1 for delivery in self._open if delivery.attempts)

    async def lose_deliveries(self) -> int:
        """Lose what Knative's in-memory channel loses when its process is killed.

        Each delivery under way fails: its call is broken off, it is not retried and leaves no dead
        letter, and a producer that waits is answered 500. Returns how many there were.
        """
        for _, limiter in self._limiters.values():
            limiter.drop()
        lost = list(self._open)
        for delivery in lost:
            delivery.state = State.FAILED
            self._journal.open_batch().updates.append(delivery.update(self._clock(), LOST))
            self.finish(delivery)
        await self._journal.flush()
        return len(lost)

    async def redrive(self, seq: int | None = None) -> int:
        """Deliver again what was dead-lettered or failed: of one event, or all.

        Each goes to its Trigger with all of its retries anew. Returns how many there are.
        """
        begun = 0
        for left in await self._fresh(Reader.lost_deliveries, seq):
            route, _ = self._limiters.get(left.trigger, (None, None))
            if (
                route is None
                or self._paused
                or any(delivery.id == left.id for delivery in self._open)
            ):
                continue
            left = replace(left, state=State.PENDING, base=left.attempts, error=None)
            delivery = PendingDelivery.resumed(left, route)
            self._open.add(delivery)
            begun += 1

            def stored(error: Exception | None, delivery: PendingDelivery = delivery) -> None:
                if error is None:
                    self._launch(delivery)
                else:
                    self._open.discard(delivery)

            batch = self._journal.open_batch(stored)
            batch.updates.append(delivery.update(self._clock(), None))
        return begun

    async def _try_sinks(self) -> None:
        """Send each dead letter sink that was away one event that it lacks; all, if it took that.

        Raises TimeoutError.
        """
        tried: dict[str, Completion] = {}
        for sink, delivery in await self._waiting_for_sinks():
            if sink not in tried:
                delivery.completion = tried[sink] = Completion()
                self._launch(delivery)
        back = {sink for sink, one in tried.items() if await one.completed(2 * FAN_OUT_S)}
        for sink, delivery in await self._waiting_for_sinks() if back else ():
            if sink in back:
                self._launch(delivery)

    async def _waiting_for_sinks(self) -> list[tuple[str, PendingDelivery]]:
        found = await self._fresh(Reader.waiting_for_sink)
        under_way = {delivery.id for delivery in self._open}
        waiting = []
        for left in found:
            route, _ = self._limiters.get(left.trigger, (None, None))
            if route and route.delivery.dead_letter_uri and left.id not in under_way:
                delivery = PendingDelivery.resumed(left, route)
                delivery.state = State.DEAD_LETTERING
                waiting.append((route.delivery.dead_letter_uri, delivery))
        return waiting

    def _resume(self, left: OpenDelivery) -> None:
        route, limiter = self._limiters.get(left.trigger, (None, None))
        if route is None or limiter is None:
            logger.error("delivery %d failed: its trigger %s is gone", left.id, left.trigger)
            reason = "its trigger is gone"
            row = (State.FAILED, left.attempts, left.base, left.due, reason, left.error, left.id)
            self._journal.open_batch().updates.append(row)
            return
        delivery = PendingDelivery.resumed(left, route)
        self._open.add(delivery)
        limiter.push_later(delivery, left.due - self._clock())

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
            return ingress.OPTIONS if method == "OPTIONS" else ingress.ANSWERS[405]
        if not self._running:
            return ingress.ANSWERS[503]
        try:
            event, ttl = ingress.read(headers, body)
        except ingress.REFUSED as error:
            logger.info("event to %s/%s refused: %s", namespace, broker, error)
            return ingress.ANSWERS[400]
        key = (namespace, f"{broker}?{query}" if query else broker)
        if key not in self._routes:
            logger.info("event to %s/%s refused: there is no such broker", *key)
            return ingress.ANSWERS[404]
        completion = Completion()
        self._accept(key, event, ttl, completion)
        try:
            return ingress.ANSWERS[202 if await completion.completed(FAN_OUT_S) else 500]
        except TimeoutError:
            return ingress.ANSWERS[500]

    def _accept(
        self,
        key: tuple[str, str],
        event: Event,
        ttl: int,
        completion: Completion,
        cause: PendingDelivery | None = None,
    ) -> None:
        """Store an event with its deliveries; they begin once it is durable.

        A reply is stored together with the end of the delivery that it answers.
        """
        now = self._clock()
        event.attributes.pop(TTL, None)
        event.attributes[ARRIVAL] = stamp(now)
        self._seq += 1
        seq = self._seq
        deliveries = [
            PendingDelivery(self._new_id(), seq, ttl, route, event, completion)
            for route in self._routes[key]
            if route.matches(event.attributes)
        ]

        def stored(error: Exception | None) -> None:
            if error is None:
                completion.expect(len(deliveries))
                for delivery in deliveries:
                    self._launch(delivery)
                if self._watchers:
                    self._watchers.publish(Change(seq, event.attributes["type"]))
            completion.finish(ok=error is None)
            if self._paused:
                completion.release(ok=self._durable and error is None)

        batch = self._journal.open_batch(stored)
        batch.events.append(event_row(seq, *key, now, ttl, cause.id if cause else None, event))
        batch.deliveries.extend(delivery.row(delivery.route.key, now) for delivery in deliveries)

    def _new_id(self) -> int:
        self._delivery += 1
        return self._delivery

    def _launch(self, delivery: PendingDelivery) -> None:
        self._open.add(delivery)
        self._limiters[delivery.route.key][1].push(delivery)

    # -- out: what the dispatcher calls

    async def _deliver(self, delivery: PendingDelivery) -> None:
        await self._dispatcher.attempt(delivery)

    async def load(self, seq: int) -> Event:
        return await self._reader(Reader.event, seq)

    def take_reply(self, delivery: PendingDelivery, reply: Event) -> None:
        """The subscriber's event enters the same Broker. Raises IncompleteError to refuse it."""
        validate(reply)
        if delivery.ttl <= 1:
            raise IncompleteError(f"{TTL} has run out")
        completion = delivery.completion or Completion()
        if delivery.completion:
            completion.expect(1)
        self._accept(delivery.route.broker, reply, delivery.ttl - 1, completion, cause=delivery)
        delivery.state = State.DELIVERED
        self._journal.open_batch().updates.append(delivery.update(self._clock(), None))
        self.finish(delivery)

    def finish(self, delivery: PendingDelivery) -> None:
        self._open.discard(delivery)
        if delivery.completion:
            delivery.completion.finish(ok=delivery.state is not State.FAILED)
        if delivery.twice and delivery.state is State.DELIVERED:
            self._repeat(delivery)

    def go_on(self, delivery: PendingDelivery, delay_s: float) -> None:
        if delay_s > 0 and self._answers_before_retries and delivery.completion:
            delivery.completion.release(ok=True)
        self._limiters[delivery.route.key][1].push_later(delivery, delay_s)

    def report(
        self, delivery: PendingDelivery, event: Event, status: int | None, reason: str | None
    ) -> None:
        if self._watchers:
            self._watchers.publish(
                Change(
                    delivery.seq,
                    event.attributes["type"],
                    delivery.id,
                    delivery.route.key,
                    delivery.state,
                    delivery.attempts,
                    status,
                    reason,
                )
            )

    def _repeat(self, delivery: PendingDelivery) -> None:
        again = PendingDelivery(
            self._new_id(),
            delivery.seq,
            delivery.ttl,
            delivery.route,
            delivery.event,
            repeated=True,
        )
        self._open.add(again)

        def stored(error: Exception | None) -> None:
            if error is None:
                self._launch(again)

        batch = self._journal.open_batch(stored)
        batch.deliveries.append(again.row(delivery.route.key, self._clock()))

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
