"""The Knative Service, refused where the admission webhook refuses it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from knative.local.manifests import autoscaling
from knative.local.manifests.core import TemplateMetadata
from knative.local.manifests.meta import AnyObject, Manifest, Strict, refuse
from knative.local.manifests.pods import Container, PodSpec

_AUTOSCALING = "autoscaling.knative.dev/"
_RESERVED_ENV = {"PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"}
_RESERVED_PORTS = {8008, 8012, 8013, 8022, 9090, 9091}


# What a stock installation sets, where timeoutSeconds is not below it.
_RESPONSE_START_S = 300


class RevisionSpec(PodSpec):
    timeout_seconds: int = Field(300, ge=1, le=600)
    response_start_timeout_seconds: int | None = Field(None, ge=1)
    idle_timeout_seconds: int | None = Field(None, ge=1)
    container_concurrency: int = Field(0, ge=0, le=1000)

    @model_validator(mode="after")
    def _webhook(self) -> RevisionSpec:
        if len(self.containers) != 1:
            raise refuse("the local Knative runs exactly one container per Service")
        if self.init_containers or self.termination_grace_period_seconds is not None:
            raise refuse("initContainers and terminationGracePeriodSeconds are not allowed here")
        if self.security_context is not None:
            message = (
                "a pod's securityContext needs the feature podspec-securitycontext, which is off"
            )
            raise refuse(f"{message}; write it in the container")
        container = self.containers[0]
        for variable in container.env:
            if variable.name in _RESERVED_ENV:
                raise refuse(f"the environment variable {variable.name} is reserved by Knative")
        if len(container.ports) > 1:
            raise refuse("more than one port")
        for port in container.ports:
            if port.container_port in _RESERVED_PORTS:
                raise refuse(f"port {port.container_port} is reserved by Knative")
            if port.name not in (None, "", "http1", "user-port"):
                raise refuse(f"port name {port.name!r}: only http1 is supported locally")
        self._check_probes(container)
        return self

    @property
    def response_start_s(self) -> int:
        """After how long without a first byte the request is answered 504."""
        start_s = self.response_start_timeout_seconds or _RESPONSE_START_S
        return min(start_s, self.idle_timeout_seconds or start_s, self.timeout_seconds)

    def _check_probes(self, container: Container) -> None:
        own: list[int | str | None] = [0]
        for port in container.ports:
            own += [port.container_port, port.name]
        for probe in (container.readiness_probe, container.liveness_probe):
            if probe and probe.http_get and probe.http_get.port not in own:
                message = f"a probe's port {probe.http_get.port} is not the container's"
                raise refuse(f"{message}; leave it out: the local Knative asks the one that serves")


class RevisionTemplate(Strict):
    metadata: TemplateMetadata = TemplateMetadata()
    spec: RevisionSpec

    @model_validator(mode="after")
    def _scales(self) -> RevisionTemplate:
        low, high = self.scale("min-scale", 0), self.scale("max-scale", 0)
        if high and low > high:
            raise refuse(f"min-scale {low} is above max-scale {high}")
        return self

    def scale(self, name: str, default: int) -> int:
        """The number in the annotation autoscaling.knative.dev/`name`."""
        text = self.metadata.annotations.get(_AUTOSCALING + name)
        if text is None:
            return default
        if not text.isdecimal():
            raise refuse(f"the annotation {_AUTOSCALING}{name} must be a number, it is {text!r}")
        return int(text)

    @property
    def window_s(self) -> float:
        return autoscaling.window_s(self.metadata.annotations)


class KnativeServiceSpec(Strict):
    template: RevisionTemplate
    traffic: list[AnyObject] = []

    @model_validator(mode="after")
    def _latest_only(self) -> KnativeServiceSpec:
        for target in self.traffic:
            if target != {"latestRevision": True, "percent": 100}:
                raise refuse(
                    "traffic: only 100 percent to the latest revision is supported locally"
                )
        return self


class KnativeService(Manifest):
    api_version: Literal["serving.knative.dev/v1"]
    kind: Literal["Service"]
    spec: KnativeServiceSpec

    @model_validator(mode="after")
    def _annotations(self) -> KnativeService:
        for name in self.metadata.annotations:
            if name.startswith(_AUTOSCALING):
                raise refuse(f"the annotation {name} belongs on spec.template.metadata")
        return self

    @property
    def container(self) -> Container:
        return self.spec.template.spec.containers[0]

    @property
    def host(self) -> str:
        return f"{self.name}.{self.namespace}.svc.cluster.local"
