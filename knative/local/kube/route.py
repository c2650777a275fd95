"""A request's path as Kubernetes reads it."""

from __future__ import annotations

from dataclasses import dataclass

from knative.local.kube.resources import BY_PLURAL, Resource
from knative.local.kube.status import ApiError


@dataclass(frozen=True)
class Route:
    """Which objects a path means; `namespace` None is all of them, `name` empty the collection."""

    resource: Resource
    namespace: str | None
    name: str
    subresource: str


def route(path: str) -> Route:
    """Read `/apis/<group>/v1/namespaces/<ns>/<plural>/<name>/<subresource>`; ApiError 404."""
    parts = [part for part in path.split("/") if part]
    missing = ApiError(404, "NotFound", "the server could not find the requested resource")
    if parts[:2] == ["api", "v1"]:
        group, rest = "", parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3 and parts[2] == "v1":
        group, rest = parts[1], parts[3:]
    else:
        raise missing
    namespace = None
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    if not 1 <= len(rest) <= 3 or (group, rest[0]) not in BY_PLURAL:
        raise missing
    plural, name, subresource = (*rest, "", "")[:3]
    resource = BY_PLURAL[group, plural]
    if subresource and subresource not in _subresources(resource):
        raise missing
    if resource.namespaced and name and namespace is None:
        raise missing
    return Route(resource, namespace if resource.namespaced else "", name, subresource)


def _subresources(resource: Resource) -> tuple[str, ...]:
    status = ("status",) if resource.status else ()
    return (*status, "log") if resource.kind == "Pod" else status
