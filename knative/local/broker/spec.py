"""The configuration of a Broker and its Triggers: frozen, and checked when they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from knative.local.broker.filters import Predicate, compile_filters

Backoff = Literal["exponential", "linear"]
Format = Literal["json", "binary"]


@dataclass(frozen=True)
class Delivery:
    """`spec.delivery`: how often, how patiently and in which form an event is delivered.

    `retry` counts the calls after the first one. Without policy or delay retries are immediate.
    """

    retry: int = 0
    backoff_policy: Backoff | None = None
    backoff_delay_s: float = 0.0
    timeout_s: float | None = None
    format: Format | None = None
    dead_letter_uri: str | None = None

    def __post_init__(self) -> None:
        if self.retry < 0:
            raise ValueError(f"delivery.retry must be 0 or more, not {self.retry}")
        if self.backoff_policy not in ("exponential", "linear", None):
            raise ValueError(
                f"delivery.backoffPolicy must be exponential or linear, not {self.backoff_policy!r}"
            )
        if self.backoff_delay_s < 0:
            raise ValueError(f"delivery.backoffDelay must not be negative: {self.backoff_delay_s}")
        if self.timeout_s is not None and self.timeout_s <= 0:
            raise ValueError(f"delivery.timeout must be above zero, not {self.timeout_s}")
        if self.format not in ("json", "binary", None):
            raise ValueError(f"delivery.format must be json or binary, not {self.format!r}")

    def pause_s(self, retry: int) -> float:
        """Seconds before retry number `retry`, counted from 0. No jitter, no cap.

        >>> [Delivery(4, "exponential", 0.2).pause_s(k) for k in range(3)]
        [0.2, 0.4, 0.8]
        >>> [Delivery(4, "linear", 0.5).pause_s(k) for k in range(3)]
        [0.0, 0.5, 1.0]
        """
        if self.backoff_policy == "exponential":
            return float(self.backoff_delay_s * 2**retry)
        if self.backoff_policy == "linear":
            return self.backoff_delay_s * retry
        return 0.0


# What the stock installation gives a Broker without `spec.delivery`: patient, and no dead letter.
STOCK_DELIVERY = Delivery(retry=10, backoff_policy="exponential", backoff_delay_s=0.2)


@dataclass(frozen=True)
class BrokerSpec:
    namespace: str
    name: str
    delivery: Delivery | None = None  # None: the stock default


@dataclass(frozen=True)
class TriggerSpec:
    """A subscription. `filters`, unless empty, takes precedence over `filter`.

    Raises ValueError, naming the trigger and the field.
    """

    namespace: str
    name: str
    broker: str
    filter: Mapping[str, str] | None
    filters: Sequence[Mapping[str, Any]] | None
    subscriber_uri: str
    delivery: Delivery | None = None
    matches: Predicate = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        where = f"trigger {self.namespace}/{self.name}"
        for uri, name in (
            (self.subscriber_uri, "subscriber"),
            (self.delivery.dead_letter_uri if self.delivery else None, "delivery.deadLetterSink"),
        ):
            if uri is not None and not uri.startswith(("http://", "https://")):
                raise ValueError(f"{where}: {name} is no absolute HTTP address: {uri!r}")
        try:
            matches = compile_filters(self.filter, self.filters)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        object.__setattr__(self, "matches", matches)  # derived, so it cannot be passed in


def effective_delivery(trigger: TriggerSpec, broker: BrokerSpec) -> Delivery:
    """A Trigger's delivery replaces the Broker's as a whole; only the dead letter sink remains."""
    of_broker = broker.delivery or STOCK_DELIVERY
    if trigger.delivery is None:
        return of_broker
    if trigger.delivery.dead_letter_uri is None:
        return replace(trigger.delivery, dead_letter_uri=of_broker.dead_letter_uri)
    return trigger.delivery
