"""Kubernetes' own kinds, as far as the local Knative runs or accepts them."""

from __future__ import annotations

import base64
import binascii
from typing import Literal

from pydantic import Field, model_validator

from knative.local.manifests.meta import AnyObject, Manifest, NonNegative, Strict, refuse
from knative.local.manifests.pods import PodSpec, VolumeMount


class Namespace(Manifest):
    kind: Literal["Namespace"]
    spec: AnyObject = {}


class ConfigMap(Manifest):
    kind: Literal["ConfigMap"]
    data: dict[str, str] = {}
    binary_data: dict[str, str] = {}
    immutable: bool = False

    def files(self) -> dict[str, bytes]:
        """Every key with its content."""
        binary = {key: base64.b64decode(value) for key, value in self.binary_data.items()}
        return {key: value.encode() for key, value in self.data.items()} | binary


class Secret(Manifest):
    kind: Literal["Secret"]
    type: str = "Opaque"
    data: dict[str, str] = {}
    string_data: dict[str, str] = {}
    immutable: bool = False

    @model_validator(mode="after")
    def _is_base64(self) -> Secret:
        for key, value in self.data.items():
            try:
                base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError):
                raise refuse(f"data.{key} is not base64 (plain text goes to stringData)") from None
        return self

    def files(self) -> dict[str, bytes]:
        """Every key with its decoded content."""
        decoded = {key: base64.b64decode(value) for key, value in self.data.items()}
        return decoded | {key: value.encode() for key, value in self.string_data.items()}


class ServiceAccount(Manifest):
    kind: Literal["ServiceAccount"]
    automount_service_account_token: bool | None = None
    image_pull_secrets: list[AnyObject] = []


class PolicyRule(Strict):
    api_groups: list[str] = []
    resources: list[str] = []
    resource_names: list[str] = []
    verbs: list[str]
    non_resource_urls: list[str] = Field(default=[], alias="nonResourceURLs")


class Role(Manifest):
    kind: Literal["Role"]
    rules: list[PolicyRule]


class ClusterRole(Manifest):
    kind: Literal["ClusterRole"]
    rules: list[PolicyRule] = []
    aggregation_rule: AnyObject | None = None


class RoleRef(Strict):
    api_group: str
    kind: Literal["Role", "ClusterRole"]
    name: str


class Subject(Strict):
    kind: Literal["ServiceAccount", "User", "Group"]
    name: str
    namespace: str | None = None
    api_group: str | None = None


class RoleBinding(Manifest):
    kind: Literal["RoleBinding"]
    role_ref: RoleRef
    subjects: list[Subject] = []


class ClusterRoleBinding(Manifest):
    kind: Literal["ClusterRoleBinding"]
    role_ref: RoleRef
    subjects: list[Subject] = []


class NetworkPolicy(Manifest):
    kind: Literal["NetworkPolicy"]
    spec: AnyObject


class PodDisruptionBudget(Manifest):
    kind: Literal["PodDisruptionBudget"]
    spec: AnyObject


_COMPONENT = "app.kubernetes.io/component"


class ServicePort(Strict):
    name: str | None = None
    port: int
    target_port: int | str | None = None
    protocol: Literal["TCP"] = "TCP"
    app_protocol: str | None = None


class ServiceSpec(Strict):
    selector: dict[str, str] = {}
    ports: list[ServicePort] = []
    cluster_ip: str | None = Field(None, alias="clusterIP")
    type: Literal["ClusterIP", "ExternalName"] = "ClusterIP"
    external_name: str | None = None

    @model_validator(mode="after")
    def _leads_out(self) -> ServiceSpec:
        if self.type == "ExternalName" and not self.external_name:
            raise refuse("an ExternalName needs externalName")
        if (self.external_name or "").endswith((".svc.cluster.local", ".svc")):
            raise refuse("locally an ExternalName leads out of the cluster, not to its own names")
        return self


class Service(Manifest):
    """A v1 Service; locally it stands for the embedded PostgreSQL, or leads out of the cluster."""

    kind: Literal["Service"]
    spec: ServiceSpec

    @model_validator(mode="after")
    def _is_no_database_outside(self) -> Service:
        labels = self.metadata.labels
        if self.spec.type == "ExternalName" and labels.get(_COMPONENT) == "database":
            raise refuse("an ExternalName leads out of the cluster; see --stand-ins")
        return self


class Endpoint(Strict):
    addresses: list[str] = Field(min_length=1)
    conditions: dict[str, bool] = {}
    hostname: str | None = None
    node_name: str | None = None
    zone: str | None = None
    target_ref: AnyObject | None = None


class EndpointPort(Strict):
    name: str | None = None
    port: int
    protocol: Literal["TCP"] = "TCP"
    app_protocol: str | None = None


class EndpointSlice(Manifest):
    kind: Literal["EndpointSlice"]
    address_type: Literal["IPv4", "IPv6", "FQDN"]
    endpoints: list[Endpoint]
    ports: list[EndpointPort] = []


class LabelSelector(Strict):
    match_labels: dict[str, str]


class TemplateMetadata(Strict):
    name: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Claim(Strict):
    api_version: str | None = None
    kind: str | None = None
    metadata: TemplateMetadata
    spec: AnyObject


class StatefulPod(PodSpec):
    """A claim's mount names no volume of the pod, so mounts are checked by the StatefulSet."""

    @model_validator(mode="after")
    def _volumes_exist(self) -> StatefulPod:
        return self


class StatefulTemplate(Strict):
    metadata: TemplateMetadata
    spec: StatefulPod


class StatefulSetSpec(Strict):
    service_name: str
    replicas: int = 1
    selector: LabelSelector
    template: StatefulTemplate
    volume_claim_templates: list[Claim] = []
    update_strategy: AnyObject | None = None
    pod_management_policy: str | None = None
    persistent_volume_claim_retention_policy: AnyObject | None = None

    @model_validator(mode="after")
    def _is_postgres(self) -> StatefulSetSpec:
        containers = self.template.spec.containers
        image = containers[0].image.rpartition("/")[2].partition(":")[0] if containers else ""
        if len(containers) != 1 or image != "postgres":
            raise refuse(
                "the local Knative runs one StatefulSet only: one container, image postgres"
            )
        if self.replicas != 1:
            raise refuse("the embedded PostgreSQL has one replica")
        return self


class StatefulSet(Manifest):
    kind: Literal["StatefulSet"]
    spec: StatefulSetSpec

    @property
    def mounts(self) -> list[VolumeMount]:
        return self.spec.template.spec.containers[0].volume_mounts


class JobPod(PodSpec):
    restart_policy: Literal["Never", "OnFailure"]

    @model_validator(mode="after")
    def _one_container(self) -> JobPod:
        if len(self.containers) != 1 or self.init_containers:
            raise refuse("a local Job has exactly one container and no initContainers")
        return self


class JobTemplate(Strict):
    metadata: TemplateMetadata = TemplateMetadata()
    spec: JobPod


class JobSpec(Strict):
    template: JobTemplate
    backoff_limit: NonNegative = 6
    completions: Literal[1] = 1
    parallelism: Literal[1] = 1
    active_deadline_seconds: int | None = Field(None, ge=1)
    ttl_seconds_after_finished: NonNegative | None = None
    suspend: Literal[False] = False


class Job(Manifest):
    kind: Literal["Job"]
    spec: JobSpec
