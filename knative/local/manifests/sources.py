"""PingSource, SinkBinding and ApiServerSource, of which admission.py knows what is refused."""

from __future__ import annotations

import base64
from typing import Literal, Self

from pydantic import Field, model_validator

from functions.cron import Cron
from knative.local.durations import duration_s
from knative.local.manifests.core import LabelSelector
from knative.local.manifests.meta import (
    AnyObject,
    CloudEventOverrides,
    Destination,
    Manifest,
    OneOf,
    Strict,
    refuse,
)

IDLE_INTERVAL = "knative-local/idle-interval"


class PingSourceSpec(Strict):
    schedule: str = "* * * * *"
    timezone: str = ""
    content_type: str = ""
    data: str = ""
    data_base64: str = Field("", alias="dataBase64")
    sink: Destination
    ce_overrides: CloudEventOverrides = CloudEventOverrides()

    @property
    def cron(self) -> Cron:
        """When it is due; CronError where nothing has checked the schedule."""
        return Cron(self.schedule, self.timezone)

    @property
    def body(self) -> bytes:
        """What a tick carries."""
        return base64.b64decode(self.data_base64) if self.data_base64 else self.data.encode()


class PingSource(Manifest):
    api_version: Literal["sources.knative.dev/v1"]
    kind: Literal["PingSource"]
    spec: PingSourceSpec

    @property
    def idle_interval_s(self) -> float:
        """Seconds from tick to tick while nothing happens and a virtual clock is advanced."""
        text = self.metadata.annotations.get(IDLE_INTERVAL)
        return duration_s(text) if text else 0.0

    @model_validator(mode="after")
    def _has_a_duration(self) -> Self:
        try:
            assert self.idle_interval_s >= 0
        except ValueError as error:
            raise refuse(f"annotation {IDLE_INTERVAL}: {error}") from None
        return self


class Subject(OneOf):
    one_of = ("name", "selector")

    api_version: str
    kind: str
    name: str | None = None
    namespace: str | None = None
    selector: LabelSelector | None = None


class SinkBindingSpec(Strict):
    subject: Subject
    sink: Destination
    ce_overrides: CloudEventOverrides = CloudEventOverrides()


class SinkBinding(Manifest):
    api_version: Literal["sources.knative.dev/v1"]
    kind: Literal["SinkBinding"]
    spec: SinkBindingSpec


class WatchedResource(Strict):
    api_version: str
    kind: str
    selector: AnyObject | None = None


class ApiServerSourceSpec(Strict):
    mode: Literal["Reference", "Resource"] = "Reference"
    resources: list[WatchedResource] = Field(min_length=1)
    service_account_name: str | None = None
    sink: Destination
    ce_overrides: CloudEventOverrides = CloudEventOverrides()
    filters: list[AnyObject] = []
    namespace_selector: AnyObject | None = None
    owner: AnyObject | None = None


class ApiServerSource(Manifest):
    api_version: Literal["sources.knative.dev/v1"]
    kind: Literal["ApiServerSource"]
    spec: ApiServerSourceSpec
