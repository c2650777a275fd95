"""What can be read of the broker: events, their deliveries, their attempts. Plain frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class State(StrEnum):
    """What has become of a delivery. Only the first two are unfinished."""

    PENDING = "pending"  # to be made, being made, or waiting for its next attempt
    DEAD_LETTERING = "dead-lettering"  # given up; on its way to the dead letter sink
    DELIVERED = "delivered"
    DEAD_LETTERED = "dead-lettered"
    FAILED = "failed"  # given up for good: no dead letter sink, or one that failed too


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One call. `at` is in seconds since 1970, `answer` the first bytes of the answer's body."""

    number: int
    url: str
    at: float
    took_s: float
    status: int | None  # None: no answer came
    reason: str | None  # None: it succeeded
    answer: bytes
    fault: str | None = None  # what was done to it on demand
    sink: bool = False  # it handed the event to the dead letter sink


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """One event for one Trigger. `due` is when its next attempt is (seconds since 1970)."""

    id: int
    trigger: str  # namespace/name
    repeated: bool  # a duplicate made on demand
    state: State
    due: float
    reason: str | None  # why it is not delivered (yet)
    attempts: tuple[AttemptRecord, ...]


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One accepted event, with what became of it. No delivery: no Trigger matched."""

    seq: int
    namespace: str
    broker: str
    arrived: float  # seconds since 1970
    ttl: int
    cause: int | None  # the delivery whose reply this event is
    attributes: dict[str, str]
    data: bytes
    deliveries: tuple[DeliveryRecord, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events: None is any. `type`, `source` and `trigger` are parts of names.

    `before` and `after` are a seq, `since` and `until` seconds since 1970. `correlation` is what
    all events of a chain carry: the id of the event that began it. Of a text its percent-encoded
    form will do: senders differ in that.
    """

    type: str | None = None
    source: str | None = None
    subject: str | None = None
    id: str | None = None
    trigger: str | None = None
    state: str | None = None
    correlation: str | None = None
    extensions: Mapping[str, str] = field(default_factory=dict)
    since: float | None = None
    until: float | None = None
    before: int | None = None
    after: int | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Change:
    """Something happened: an event was accepted, or a delivery was attempted.

    `delivery`, `trigger`, `state`, `status` and `reason` are None for an accepted event.
    """

    seq: int
    type: str
    delivery: int | None = None
    trigger: str | None = None
    state: State | None = None
    attempt: int | None = None
    status: int | None = None
    reason: str | None = None
