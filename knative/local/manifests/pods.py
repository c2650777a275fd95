"""The parts of a pod that a process can have: containers, environment, volumes, probes."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from knative.local.manifests.meta import AnyObject, NonNegative, OneOf, Strict, refuse


class KeySelector(Strict):
    name: str
    key: str
    optional: bool = False


class ValueFrom(OneOf):
    one_of = ("config_map_key_ref", "secret_key_ref")

    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None


class EnvVar(Strict):
    name: str = Field(pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$")
    value: str | None = None
    value_from: ValueFrom | None = None

    @model_validator(mode="after")
    def _not_both(self) -> EnvVar:
        if self.value is not None and self.value_from is not None:
            raise refuse("has both value and valueFrom")
        return self


class ObjectReference(Strict):
    name: str
    optional: bool = False


class EnvFrom(OneOf):
    one_of = ("config_map_ref", "secret_ref")

    prefix: str = ""
    config_map_ref: ObjectReference | None = None
    secret_ref: ObjectReference | None = None


class ContainerPort(Strict):
    container_port: int | None = Field(None, ge=1, le=65535)
    name: str | None = None
    protocol: Literal["TCP"] = "TCP"


class HttpGet(Strict):
    path: str = "/"
    port: int | str = 0
    scheme: Literal["HTTP"] = "HTTP"


class Exec(Strict):
    command: list[str]


class TcpSocket(Strict):
    port: int | str = 0


class Probe(Strict):
    """Locally, httpGet decides readiness; exec and tcpSocket are taken for a listening port."""

    http_get: HttpGet | None = None
    exec: Exec | None = None
    tcp_socket: TcpSocket | None = None
    initial_delay_seconds: NonNegative = 0
    period_seconds: NonNegative = 10
    timeout_seconds: NonNegative = 1
    success_threshold: NonNegative = 1
    failure_threshold: NonNegative = 3


class Capabilities(Strict):
    add: list[str] = []
    drop: list[str] = []


class SeccompProfile(Strict):
    type: str


class SecurityContext(Strict):
    """Accepted; a process on a laptop has the rights of the user who started it."""

    allow_privilege_escalation: bool | None = None
    capabilities: Capabilities | None = None
    read_only_root_filesystem: bool | None = None
    run_as_non_root: bool | None = None
    run_as_user: int | None = None
    run_as_group: int | None = None
    fs_group: int | None = None
    seccomp_profile: SeccompProfile | None = None


class Resources(Strict):
    """Accepted, not enforced."""

    requests: dict[str, str | int | float] = {}
    limits: dict[str, str | int | float] = {}


class VolumeMount(Strict):
    name: str
    mount_path: str
    read_only: bool = False
    sub_path: str | None = None


class KeyToPath(Strict):
    key: str
    path: str
    mode: int | None = None


class ConfigMapVolume(Strict):
    name: str
    items: list[KeyToPath] = []
    default_mode: int | None = None
    optional: bool = False


class SecretVolume(Strict):
    secret_name: str
    items: list[KeyToPath] = []
    default_mode: int | None = None
    optional: bool = False


class ServiceAccountToken(Strict):
    path: str
    audience: str | None = None
    expiration_seconds: Annotated[int, Field(ge=600)] | None = None


class Projection(Strict):
    name: str
    items: list[KeyToPath] = []
    optional: bool = False


class ProjectedSource(OneOf):
    one_of = ("config_map", "secret", "service_account_token")

    config_map: Projection | None = None
    secret: Projection | None = None
    service_account_token: ServiceAccountToken | None = None


class ProjectedVolume(Strict):
    sources: list[ProjectedSource]
    default_mode: int | None = None


class Volume(OneOf):
    one_of = ("config_map", "secret", "empty_dir", "projected")

    name: str
    config_map: ConfigMapVolume | None = None
    secret: SecretVolume | None = None
    empty_dir: AnyObject | None = None
    projected: ProjectedVolume | None = None


class Container(Strict):
    name: str = "user-container"
    image: str
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    command: list[str] = []
    args: list[str] = []
    working_dir: str | None = None
    env: list[EnvVar] = []
    env_from: list[EnvFrom] = []
    ports: list[ContainerPort] = []
    resources: Resources | None = None
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    startup_probe: Probe | None = None
    security_context: SecurityContext | None = None
    volume_mounts: list[VolumeMount] = []

    @model_validator(mode="after")
    def _sub_paths(self) -> Container:
        for mount in self.volume_mounts:
            if mount.sub_path and not re.fullmatch(r"[^/].*", mount.sub_path):
                raise refuse(f"subPath {mount.sub_path!r} must be relative")
        return self


class LocalObject(Strict):
    name: str


class PodSpec(Strict):
    containers: list[Container]
    init_containers: list[Container] = []
    volumes: list[Volume] = []
    service_account_name: str | None = None
    automount_service_account_token: bool | None = None
    enable_service_links: bool | None = None
    image_pull_secrets: list[LocalObject] = []
    security_context: SecurityContext | None = None
    termination_grace_period_seconds: NonNegative | None = None

    @model_validator(mode="after")
    def _volumes_exist(self) -> PodSpec:
        known = {volume.name for volume in self.volumes}
        for container in self.containers:
            for mount in container.volume_mounts:
                if mount.name not in known:
                    raise refuse(f"volumeMount {mount.name!r} names no volume")
        return self
