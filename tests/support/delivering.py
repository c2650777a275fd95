"""The base's own delivery policy at work: a Broker on a clock that is advanced, over a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx

from functions.events.base import Event
from functions.kit import cloudevents
from knative.local.broker import Answer, BrokerSpec, Delivery, Headers, LocalBroker, TriggerSpec
from knative.local.timeline import Timeline, wait_until_idle
from tests.support.cluster import Cluster, message_of
from tests.support.repository import seconds, triggers

START = datetime(2025, 8, 29, 15, tzinfo=UTC)


class Deliveries:
    """A Broker whose one Trigger is a shipped one, with all that the base says of its delivery."""

    def __init__(self, cluster: Cluster, trigger: str, folder: Path) -> None:
        self.cluster = cluster
        self.timeline = Timeline(START)
        (shipped,) = (one for one in triggers() if one.name == trigger)
        delivery = Delivery(
            shipped.retry,
            shipped.delivery["backoffPolicy"],
            seconds(shipped.delivery["backoffDelay"]),
            shipped.timeout_s,
            dead_letter_uri="http://dead-letter.dsm.svc.cluster.local/",
        )
        to = f"http://{shipped.service}.dsm.svc.cluster.local/"
        self.broker = LocalBroker(
            folder / "broker.db",
            [BrokerSpec("dsm", "default")],
            [TriggerSpec("dsm", trigger, "default", None, None, to, delivery)],
            self._send,
            clock=self.timeline.now,
            call_later=self.timeline.call_later,
            answers_before_retries=True,
        )

    async def _send(
        self, method: str, url: str, headers: Headers, body: bytes, timeout_s: float | None
    ) -> Answer:
        async with httpx.AsyncClient(transport=self.cluster) as client:
            response = await client.request(method, url, headers=list(headers), content=body)
        return Answer(response.status_code, response.headers.raw, response.content)

    async def publish(self, event: Event) -> None:
        headers, body = cloudevents.encode(message_of(event))
        raw = [(name.encode(), text.encode()) for name, text in headers]
        answer = await self.broker.ingress("dsm", "default", "POST", raw, body)
        assert answer.status == 202

    async def advance(self, by_s: float) -> None:
        """Let so many seconds pass, with all that is due in them."""
        await self.timeline.advance(by_s, self._settled)
        await self.cluster.relayed()

    async def _settled(self) -> None:
        await wait_until_idle(lambda: ["the broker"] if self.broker.in_flight() else [])

    async def ends(self) -> list[tuple[str, int]]:
        """Of each delivery, its state and how many attempts there were."""
        found = await self.broker.events()
        return [(d.state.value, len(d.attempts)) for event in found for d in event.deliveries]


@asynccontextmanager
async def delivering(cluster: Cluster, trigger: str, folder: Path) -> AsyncIterator[Deliveries]:
    """Deliver to a shipped Trigger's subscriber in `cluster`, until left."""
    made = Deliveries(cluster, trigger, folder)
    await made.broker.start()
    try:
        yield made
    finally:
        made.timeline.close()
        await made.broker.stop(grace_s=0)
