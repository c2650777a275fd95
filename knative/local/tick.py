"""One tick of a PingSource: its event, and how Knative's mtping adapter sends it."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from knative.local.broker.event import stamp
from knative.local.broker.http import Answer, Headers, Outcome, Send
from knative.local.faults import Call, Faults
from knative.local.manifests.admission import RESERVED
from knative.local.manifests.references import address
from knative.local.manifests.sources import PingSource
from knative.local.timeline import Timeline

PING = "dev.knative.sources.ping"

# What the CloudEvents SDK retries, and when: +0.1, 0.3, 0.7, 1.5 and 3.1 s after the first try.
RETRIED = frozenset({404, 413, 425, 429, 502, 503, 504})
PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6)


@dataclass(frozen=True)
class Tick:
    """One firing: the event's id, and the status that it ended with (None: no connection)."""

    schedule: str
    id: str
    status: int | None

    @property
    def accepted(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Ticks:
    """Sends ticks. A fault `twice` sends a second one, as two replicas of the adapter do."""

    def __init__(self, send: Send, timeline: Timeline, faults: Faults | None) -> None:
        self._send = send
        self._timeline = timeline
        self._faults = faults

    async def fire(self, source: PingSource, requested_by: str = "") -> Tick:
        """Send one tick now, with the adapter's retries.

        `requested_by` marks one that a user fires: no adapter sends it, and a function that knows
        its schedule's times tells by it that this is none of them.
        """
        tick, is_doubled = await self._fire(source, requested_by)
        if is_doubled:
            await self._fire(source, requested_by, replica=2)
        return tick

    async def _fire(
        self, source: PingSource, requested_by: str, replica: int = 1
    ) -> tuple[Tick, bool]:
        key, ident = f"{source.namespace}/{source.name}", self._id(source, replica)
        if not RESERVED.isdisjoint(name.lower() for name in source.spec.ce_overrides.extensions):
            return Tick(key, ident, None), False
        url = address(source.spec.sink, source.namespace)
        headers = _headers(source, ident, self._timeline.now(), requested_by)
        status: int | None = None
        is_doubled = False

        async def make() -> Outcome:
            try:
                return await self._send("POST", url, headers, source.spec.body, None)
            except OSError as error:
                return error

        for pause_s in (*PAUSES_S, None):
            outcome, twice = await self._called(key, url, make, repeated=replica > 1)
            is_doubled = is_doubled or twice
            if isinstance(outcome, Answer):
                status = outcome.status
            if pause_s is None or not (status is None or status in RETRIED):
                break
            await asyncio.sleep(pause_s)
        return Tick(key, ident, status), is_doubled

    async def _called(
        self, key: str, url: str, make: Call, *, repeated: bool
    ) -> tuple[Outcome, bool]:
        if self._faults is None:
            return await make(), False
        return await self._faults.tick(key, url, make, repeated=repeated)

    def _id(self, source: PingSource, replica: int) -> str:
        """An id for a tick; of a virtual time the same one in each run."""
        if not self._timeline.is_virtual:
            return str(uuid.uuid4())
        moment = datetime.fromtimestamp(self._timeline.now(), UTC).isoformat()
        name = f"{source.namespace}/{source.name} {moment} {replica}"
        return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def _headers(source: PingSource, ident: str, now: float, requested_by: str) -> Headers:
    place = f"/apis/v1/namespaces/{source.namespace}/pingsources/{source.name}"
    attributes = {
        "ce-specversion": "1.0",
        "ce-id": ident,
        "ce-type": PING,
        "ce-source": place,
        "ce-time": stamp(now),
        "kn-namespace": source.namespace,
    }
    if source.spec.content_type:
        attributes["content-type"] = source.spec.content_type
    for name, value in source.spec.ce_overrides.extensions.items():
        attributes[f"ce-{name.lower()}"] = value
    if requested_by:
        attributes["ce-requestedby"] = requested_by
    return [(name.encode(), value.encode()) for name, value in attributes.items()]
