"""Broker, Trigger and EventType, refused where the admission webhook refuses them."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, model_validator

from knative.local.broker.filters import compile_filter
from knative.local.manifests.meta import (
    AnyObject,
    Destination,
    Duration,
    Manifest,
    NonNegative,
    PositiveDuration,
    Reference,
    Strict,
    refuse,
)

_ATTRIBUTE = re.compile(r"^[a-z][a-z0-9]*$")
_BROKER_CLASS = "eventing.knative.dev/broker.class"


class DeliverySpec(Strict):
    """Duration fields are ISO 8601 text; `retry` counts attempts after the first."""

    dead_letter_sink: Destination | None = None
    retry: NonNegative | None = None
    timeout: PositiveDuration | None = None
    backoff_policy: Literal["linear", "exponential"] | None = None
    backoff_delay: Duration | None = None
    format: Literal["json", "binary"] | None = None
    retry_after_max: str | None = None

    @model_validator(mode="after")
    def _no_feature_flags(self) -> DeliverySpec:
        if self.retry_after_max is not None:
            raise refuse("retryAfterMax needs the feature delivery-retryafter, which is off")
        return self


class BrokerSpec(Strict):
    config: Reference | None = None
    delivery: DeliverySpec | None = None


class Broker(Manifest):
    api_version: Literal["eventing.knative.dev/v1"]
    kind: Literal["Broker"]
    spec: BrokerSpec = BrokerSpec()

    @model_validator(mode="after")
    def _class_is_known(self) -> Broker:
        name = self.metadata.annotations.get(_BROKER_CLASS, "MTChannelBasedBroker")
        if name != "MTChannelBasedBroker":
            raise refuse(f"broker class {name!r}: locally there is MTChannelBasedBroker only")
        return self


class AttributesFilter(Strict):
    attributes: dict[str, str]


class TriggerSpec(Strict):
    broker: str = Field(min_length=1)
    filter: AttributesFilter | None = None
    filters: list[AnyObject] = []
    subscriber: Destination
    delivery: DeliverySpec | None = None

    @model_validator(mode="after")
    def _filters_are_known(self) -> TriggerSpec:
        for name in self.filter.attributes if self.filter else ():
            if not _ATTRIBUTE.match(name):
                raise refuse(f"filter.attributes: {name!r} must be lower-case letters and digits")
        for number, item in enumerate(self.filters):
            check_filter(item, f"filters[{number}]")
        return self


class Trigger(Manifest):
    api_version: Literal["eventing.knative.dev/v1"]
    kind: Literal["Trigger"]
    spec: TriggerSpec


class EventTypeSpec(Strict):
    type: str | None = None
    source: str | None = None
    schema_: str | None = Field(None, alias="schema")
    schema_data: str | None = None
    broker: str | None = None
    reference: Reference | None = None
    description: str | None = None
    attributes: list[AnyObject] = []
    variables: list[AnyObject] = []


class EventType(Manifest):
    kind: Literal["EventType"]
    spec: EventTypeSpec


def check_filter(item: Any, where: str) -> None:
    """Refuse what the broker could not match with."""
    try:
        compile_filter(item, where)
    except ValueError as error:
        raise refuse(str(error)) from None
