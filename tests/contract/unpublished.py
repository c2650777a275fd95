"""Kinds of our overlays whose schemas no package publishes, or whose webhook is stricter.

Strict, so that a wrong field is found before a cluster finds it. The local Knative runs none of
them: see `knative.local.manifests.stand_ins`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from knative.local.manifests.eventing import DeliverySpec, check_filter
from knative.local.manifests.meta import (
    AnyObject,
    CloudEventOverrides,
    Destination,
    Manifest,
    OneOf,
    Reference,
    Strict,
)

Text = Annotated[str, Field(min_length=1)]


class SecretRef(Strict):
    name: str


class AuthSecret(Strict):
    ref: SecretRef


class KafkaAuth(Strict):
    secret: AuthSecret


class KafkaSinkSpec(Strict):
    topic: Text
    bootstrap_servers: list[Text] = Field(min_length=1)
    num_partitions: int | None = Field(None, ge=1)
    replication_factor: int | None = Field(None, ge=1)
    content_mode: Literal["binary", "structured"] = "binary"
    auth: KafkaAuth | None = None


class KafkaSink(Manifest):
    api_version: Literal["eventing.knative.dev/v1alpha1"]
    kind: Literal["KafkaSink"]
    spec: KafkaSinkSpec


class KafkaSourceSpec(Strict):
    consumers: int | None = Field(None, ge=0)
    consumer_group: str | None = None
    bootstrap_servers: list[Text] = Field(min_length=1)
    topics: list[Text] = Field(min_length=1)
    ordering: Literal["ordered", "unordered"] | None = None
    initial_offset: Literal["earliest", "latest"] | None = None
    net: AnyObject | None = None
    delivery: DeliverySpec | None = None
    sink: Destination
    ce_overrides: CloudEventOverrides = CloudEventOverrides()


class KafkaSource(Manifest):
    api_version: Literal["sources.knative.dev/v1"]
    kind: Literal["KafkaSource"]
    spec: KafkaSourceSpec


class ClusterReference(OneOf):
    one_of = ("name", "connection_secret")

    name: str | None = None
    namespace: str | None = None
    connection_secret: SecretRef | None = None


class RabbitmqBrokerConfigSpec(Strict):
    rabbitmq_cluster_reference: ClusterReference
    queue_type: Literal["quorum", "classic"] = "quorum"


class RabbitmqBrokerConfig(Manifest):
    api_version: Literal["eventing.knative.dev/v1alpha1"]
    kind: Literal["RabbitmqBrokerConfig"]
    spec: RabbitmqBrokerConfigSpec


class PolicyFrom(OneOf):
    one_of = ("ref", "sub")

    ref: Reference | None = None
    sub: str | None = None


class PolicyTarget(Strict):
    ref: Reference | None = None
    selector: AnyObject | None = None


class EventPolicySpec(Strict):
    from_: list[PolicyFrom] = Field([], alias="from")
    to: list[PolicyTarget] = []
    filters: list[AnyObject] = []

    @model_validator(mode="after")
    def _filters_are_known(self) -> EventPolicySpec:
        for number, item in enumerate(self.filters):
            check_filter(item, f"filters[{number}]")
        return self


class EventPolicy(Manifest):
    api_version: Literal["eventing.knative.dev/v1alpha1"]
    kind: Literal["EventPolicy"]
    spec: EventPolicySpec


KINDS: dict[tuple[str, str], type[Manifest]] = {
    ("eventing.knative.dev/v1alpha1", "KafkaSink"): KafkaSink,
    ("sources.knative.dev/v1", "KafkaSource"): KafkaSource,
    ("eventing.knative.dev/v1alpha1", "RabbitmqBrokerConfig"): RabbitmqBrokerConfig,
    ("eventing.knative.dev/v1alpha1", "EventPolicy"): EventPolicy,
}
