"""Which kinds this API serves, and what may be done with each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

READ = frozenset({"get", "list", "watch"})
WRITE = READ | {"create", "update", "patch", "delete", "deletecollection"}


@dataclass(frozen=True)
class Resource:
    """A kind with its place in the API; `group` is empty for the core."""

    group: str
    kind: str
    plural: str
    verbs: frozenset[str] = WRITE
    namespaced: bool = True
    generation: bool = False
    status: bool = False
    version: str = "v1"

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def custom(self) -> bool:
        """Is it of a CustomResourceDefinition, not built into Kubernetes?"""
        return "." in self.group

    @property
    def qualified(self) -> str:
        """`jobs.batch`, as messages name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


JOB = Resource("batch", "Job", "jobs", generation=True, status=True)
CONFIG_MAP = Resource("", "ConfigMap", "configmaps")
SECRET = Resource("", "Secret", "secrets")
# Pods are made by Jobs only: no controller would retry or remove one without an owner.
POD = Resource("", "Pod", "pods", verbs=READ | {"delete", "deletecollection"}, status=True)
NAMESPACE = Resource("", "Namespace", "namespaces", verbs=READ, namespaced=False)
PING_SOURCE = Resource(
    "sources.knative.dev", "PingSource", "pingsources", generation=True, status=True
)
API_SERVER_SOURCE = Resource(
    "sources.knative.dev", "ApiServerSource", "apiserversources", generation=True, status=True
)
SERVICE = Resource("serving.knative.dev", "Service", "services", verbs=READ, generation=True)
REVISION = Resource("serving.knative.dev", "Revision", "revisions", verbs=READ, generation=True)

RESOURCES: tuple[Resource, ...] = (
    CONFIG_MAP,
    SECRET,
    POD,
    NAMESPACE,
    JOB,
    PING_SOURCE,
    API_SERVER_SOURCE,
    SERVICE,
    REVISION,
)
BY_PLURAL: Mapping[tuple[str, str], Resource] = {(r.group, r.plural): r for r in RESOURCES}
BY_KIND: Mapping[str, Resource] = {r.kind: r for r in RESOURCES}
BY_TYPE: Mapping[tuple[str, str], Resource] = {(r.api_version, r.kind): r for r in RESOURCES}
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(r.group for r in RESOURCES if r.group))
