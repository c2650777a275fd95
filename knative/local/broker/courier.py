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
from knative.local.broker.job import Job
from knative.local.broker.journal import Journal
from knative.local.broker.outcome import (
    ERROR_BODY_MAX,
    Accepted,
    Refused,
    judge_sink,
    judge_subscriber,
    refused_reply,
)
from knative.local.broker.records import State

logger = logging.getLogger(__name__)

# The stock fan-out gives up after this, whatever a Trigger's own timeout says.
FAN_OUT_S = 900.0
ANSWER_KEPT = 256  # bytes of an answer that the store keeps
REDIRECTS_MAX = 10


class Hub(Protocol):
    """What the courier hands its results to."""

    async def load(self, seq: int) -> Event: ...
    def take_reply(self, job: Job, reply: Event) -> None: ...
    def finish(self, job: Job) -> None: ...
    def go_on(self, job: Job, delay_s: float) -> None: ...
    def report(self, job: Job, event: Event, status: int | None, reason: str | None) -> None: ...


class Courier:
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

    async def attempt(self, job: Job) -> None:
        """One call to the subscriber, or to the dead letter sink, and what follows from it."""
        event = job.event or await self._hub.load(job.seq)
        url, headers, body = job.request(event)
        at, started = self._clock(), time.perf_counter()
        timeout_s = job.route.delivery.timeout_s or FAN_OUT_S
        call = partial(self._call, url, headers, body, timeout_s)
        if self._around is None:
            answer, fault = await call(), None
        else:
            answer, fault, job.twice = await self._around(
                job.route.key, url, call, timeout_s, repeated=job.repeated
            )
        took_s = time.perf_counter() - started
        job.attempts += 1
        dead_lettering = job.state is State.DEAD_LETTERING
        verdict = (judge_sink if dead_lettering else judge_subscriber)(url, answer)
        reason = verdict.reason if isinstance(verdict, Refused) else None
        status = answer.status if isinstance(answer, Answer) else None
        seen = answer.body[:ANSWER_KEPT] if isinstance(answer, Answer) else b""
        self._journal.open_batch().attempts.append(
            (job.id, job.attempts, url, at, took_s, status, reason, seen, fault)
        )
        if isinstance(verdict, Accepted) and verdict.reply is not None:
            try:
                self._hub.take_reply(job, verdict.reply)
            except IncompleteError as error:
                verdict = refused_reply(job.route.ingress_url, str(error))
        if isinstance(verdict, Refused):
            self._refused(job, verdict)
        elif dead_lettering:
            self._end(job, State.DEAD_LETTERED, None)
        elif verdict.reply is None:
            self._end(job, State.DELIVERED, None)
        self._hub.report(job, event, status, reason)

    def _refused(self, job: Job, verdict: Refused) -> None:
        delivery = job.route.delivery
        made = job.attempts - job.base
        if verdict.retry and made <= delivery.retry:
            job.event = None  # it may be a long wait; the store has it
            self._wait(job, delivery.pause_s(made - 1), verdict.reason)
        elif job.state is State.DEAD_LETTERING or delivery.dead_letter_uri is None:
            logger.warning("delivery %d to %s failed: %s", job.id, job.route.key, verdict.reason)
            self._end(job, State.FAILED, verdict.reason)
        elif verdict.oversized:
            reason = (
                f"{verdict.reason} with a body of {verdict.oversized} bytes: over "
                f"{ERROR_BODY_MAX} it crashes Knative's dispatcher, and the event is lost there"
            )
            logger.error("delivery %d to %s failed: %s", job.id, job.route.key, reason)
            self._end(job, State.FAILED, reason)
        else:
            job.state, job.base, job.error = State.DEAD_LETTERING, job.attempts, verdict.info
            self._wait(job, 0.0, verdict.reason)

    def _wait(self, job: Job, delay_s: float, reason: str) -> None:
        due = self._clock() + delay_s
        self._journal.open_batch().updates.append(job.update(due, reason))
        self._hub.go_on(job, delay_s)

    def _end(self, job: Job, state: State, reason: str | None) -> None:
        job.state = state
        self._journal.open_batch().updates.append(job.update(self._clock(), reason))
        self._hub.finish(job)

    async def _call(self, url: str, headers: Headers, body: bytes, timeout_s: float) -> Outcome:
        method, ends = "POST", time.perf_counter() + timeout_s  # as in Go, for all hops together
        try:
            for _ in range(REDIRECTS_MAX):
                left_s = max(ends - time.perf_counter(), 0.001)
                answer = await self._send(method, url, headers, body, left_s)
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
