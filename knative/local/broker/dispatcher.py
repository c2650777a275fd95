"""Makes one attempt of a delivery, and turns its verdict into the delivery's next state."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol
from urllib.parse import urljoin

from knative.local.broker.event import Event, IncompleteError
from knative.local.broker.http import Answer, Around, Headers, Outcome, Send, header
from knative.local.broker.journal import Journal
from knative.local.broker.outcome import (
    ERROR_BODY_MAX,
    Accepted,
    Refused,
    judge_sink,
    judge_subscriber,
    refused_reply,
)
from knative.local.broker.pending import PendingDelivery
from knative.local.broker.records import State
from knative.local.broker.sink_away import AWAY

logger = logging.getLogger(__name__)

# The stock fan-out gives up after this, whatever a Trigger's own timeout says.
FAN_OUT_S = 900.0
ANSWER_KEPT = 256  # bytes of an answer that the store keeps
REDIRECTS_MAX = 10


class Hub(Protocol):
    """What the dispatcher hands its results to."""

    async def load(self, seq: int) -> Event: ...
    def take_reply(self, delivery: PendingDelivery, reply: Event) -> None: ...
    def finish(self, delivery: PendingDelivery) -> None: ...
    def go_on(self, delivery: PendingDelivery, delay_s: float) -> None: ...
    def report(
        self, delivery: PendingDelivery, event: Event, status: int | None, reason: str | None
    ) -> None: ...


class Dispatcher:
    def __init__(
        self,
        hub: Hub,
        journal: Journal,
        send: Send,
        clock: Callable[[], float],
        around: Around | None,
    ) -> None:
        self._around = around
        self._hub = hub
        self._journal = journal
        self._send = send
        self._clock = clock

    async def attempt(self, delivery: PendingDelivery) -> None:
        """One call to the subscriber, or to the dead letter sink, and what follows from it."""
        event = delivery.event or await self._hub.load(delivery.seq)
        url, headers, body = delivery.request(event)
        at, started = self._clock(), time.perf_counter()
        timeout_s = delivery.route.delivery.timeout_s or FAN_OUT_S
        call = partial(self._call, url, headers, body, timeout_s)
        if self._around is None:
            answer, fault = await call(), None
        else:
            answer, fault, delivery.twice = await self._around(
                delivery.route.key, url, call, timeout_s, repeated=delivery.repeated
            )
        took_s = time.perf_counter() - started
        delivery.attempts += 1
        dead_lettering = delivery.state is State.DEAD_LETTERING
        verdict = (judge_sink if dead_lettering else judge_subscriber)(url, answer)
        reason = verdict.reason if isinstance(verdict, Refused) else None
        status = answer.status if isinstance(answer, Answer) else None
        seen = answer.body[:ANSWER_KEPT] if isinstance(answer, Answer) else b""
        self._journal.open_batch().attempts.append(
            (
                *(delivery.id, delivery.attempts, url, at, took_s, status, reason, seen, fault),
                int(dead_lettering),
            )
        )
        if isinstance(verdict, Accepted) and verdict.reply is not None:
            try:
                self._hub.take_reply(delivery, verdict.reply)
            except IncompleteError as error:
                verdict = refused_reply(delivery.route.ingress_url, str(error))
        if isinstance(verdict, Refused):
            self._refused(delivery, verdict)
        elif dead_lettering:
            self._end(delivery, State.DEAD_LETTERED, None)
        elif verdict.reply is None:
            self._end(delivery, State.DELIVERED, None)
        self._hub.report(delivery, event, status, reason)

    def _refused(self, delivery: PendingDelivery, verdict: Refused) -> None:
        policy = delivery.route.delivery
        made = delivery.attempts - delivery.base
        if verdict.retry and made <= policy.retry:
            delivery.event = None  # it may be a long wait; the store has it
            self._wait(delivery, policy.pause_s(made - 1), verdict.reason)
        elif delivery.state is State.DEAD_LETTERING or policy.dead_letter_uri is None:
            is_away = delivery.state is State.DEAD_LETTERING and verdict.retry
            reason = f"{AWAY}: {verdict.reason}" if is_away else verdict.reason
            logger.warning("delivery %d to %s failed: %s", delivery.id, delivery.route.key, reason)
            self._end(delivery, State.FAILED, reason)
        elif verdict.oversized:
            reason = (
                f"{verdict.reason} with a body of {verdict.oversized} bytes: over "
                f"{ERROR_BODY_MAX} it crashes Knative's dispatcher, and the event is lost there"
            )
            logger.error("delivery %d to %s failed: %s", delivery.id, delivery.route.key, reason)
            self._end(delivery, State.FAILED, reason)
        else:
            delivery.state, delivery.base, delivery.error = (
                State.DEAD_LETTERING,
                delivery.attempts,
                verdict.info,
            )
            self._wait(delivery, 0.0, verdict.reason)

    def _wait(self, delivery: PendingDelivery, delay_s: float, reason: str) -> None:
        due = self._clock() + delay_s
        self._journal.open_batch().updates.append(delivery.update(due, reason))
        self._hub.go_on(delivery, delay_s)

    def _end(self, delivery: PendingDelivery, state: State, reason: str | None) -> None:
        delivery.state = state
        self._journal.open_batch().updates.append(delivery.update(self._clock(), reason))
        self._hub.finish(delivery)

    async def _call(self, url: str, headers: Headers, body: bytes, timeout_s: float) -> Outcome:
        method, ends = "POST", time.perf_counter() + timeout_s  # as in Go, for all hops together
        try:
            for _ in range(REDIRECTS_MAX):
                remaining_s = max(ends - time.perf_counter(), 0.001)
                answer = await self._send(method, url, headers, body, remaining_s)
                where = header(answer.headers, b"location")
                if where is None or answer.status not in (301, 302, 303, 307, 308):
                    return answer
                url = urljoin(url, where.decode("latin-1"))
                if answer.status < 304:
                    method, body = "GET", b""
            return ConnectionError(f"stopped after {REDIRECTS_MAX} redirects")
        except OSError as error:
            return error
        except Exception as error:
            logger.exception("sending to %s broke off", url)
            return ConnectionError(f"{type(error).__name__}: {error}")
