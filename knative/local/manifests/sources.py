"""PingSource, SinkBinding and ApiServerSource, refused where the admission webhook does."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Literal

from pydantic import Field, model_validator

from functions.cron import Cron, CronError, UnknownZoneError
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


class PingSourceSpec(Strict):
    schedule: str = "* * * * *"
    timezone: str = ""
    content_type: str = ""
    data: str = ""
    data_base64: str = Field("", alias="dataBase64")
    sink: Destination
    ce_overrides: CloudEventOverrides = CloudEventOverrides()

    @model_validator(mode="after")
    def _is_cron(self) -> PingSourceSpec:
        try:
            Cron(self.schedule, self.timezone)
        except UnknownZoneError as error:
            raise refuse(str(error)) from None
        except CronError as error:
            raise refuse(f"schedule {self.schedule!r}: {error}") from None
        return self

    @model_validator(mode="after")
    def _data_is_one(self) -> PingSourceSpec:
        if self.data and self.data_base64:
            raise refuse("data and dataBase64 are exclusive")
        if self.data and self.content_type == "application/json":
            try:
                json.loads(self.data)
            except ValueError as error:
                raise refuse(f"data is not valid JSON: {error}") from None
        if self.data_base64:
            try:
                base64.b64decode(self.data_base64, validate=True)
            except (binascii.Error, ValueError):
                raise refuse("dataBase64 is not base64") from None
        return self

    @property
    def body(self) -> bytes:
        """What a tick carries."""
        return base64.b64decode(self.data_base64) if self.data_base64 else self.data.encode()


class PingSource(Manifest):
    api_version: Literal["sources.knative.dev/v1"]
    kind: Literal["PingSource"]
    spec: PingSourceSpec


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
