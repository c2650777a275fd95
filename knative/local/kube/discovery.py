"""The documents by which a client learns what is served: /version, /api, /apis and below."""

from __future__ import annotations

from typing import Any

from knative.local.kube.resources import GROUPS, RESOURCES, Resource

Document = dict[str, Any]


def document(path: str) -> Document | None:
    """The discovery document at `path`, None if there is none."""
    return _DOCUMENTS.get(path.rstrip("/"))


def _group(name: str) -> Document:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def _resources(group: str) -> Document:
    found = [entry for one in RESOURCES if one.group == group for entry in _entries(one)]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/v1" if group else "v1",
        "resources": found,
    }


def _entries(resource: Resource) -> list[Document]:
    base = {"namespaced": resource.namespaced, "kind": resource.kind, "singularName": ""}
    singular = {**base, "singularName": resource.kind.lower()}
    entries = [{"name": resource.plural, **singular, "verbs": sorted(resource.verbs)}]
    if resource.status:
        verbs = ["get", "patch", "update"]
        entries.append({"name": f"{resource.plural}/status", **base, "verbs": verbs})
    if resource.kind == "Pod":
        entries.append({"name": "pods/log", **base, "verbs": ["get"]})
    return entries


_DOCUMENTS: dict[str, Document] = {
    "/version": {
        "major": "1",
        "minor": "36",
        "gitVersion": "v1.36.0+local-knative",
        # The official client requires all of these.
        **dict.fromkeys(
            ("gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"),
            "local-knative",
        ),
    },
    "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
    "/api/v1": _resources(""),
    "/apis": {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [_group(name) for name in GROUPS],
    },
    **{
        f"/apis/{name}": {"kind": "APIGroup", "apiVersion": "v1", **_group(name)} for name in GROUPS
    },
    **{f"/apis/{name}/v1": _resources(name) for name in GROUPS},
}
