"""Create, update, patch and delete: what the API server does with an object before the store.

Every way in (HTTP, the overlay's manifests, the controllers) passes here, so the rules are kept
once: metadata, defaults, validation, resourceVersion conflicts, deletion with its propagation.
"""

from __future__ import annotations

import base64
import copy
import json
import secrets
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any

from knative.local.kube import patch, status
from knative.local.kube.collector import Collector, DeleteOptions
from knative.local.kube.job_spec import admitted, with_defaults
from knative.local.kube.resources import (
    API_SERVER_SOURCE,
    BY_TYPE,
    JOB,
    NAMESPACE,
    PING_SOURCE,
    SECRET,
    Resource,
)
from knative.local.kube.shape import shaped
from knative.local.kube.source_spec import refuse_source
from knative.local.kube.store import Key, Object, Store
from knative.local.kube.timestamps import stamp
from knative.local.kube.validate import validate

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_SERVER_SET = (
    *("uid", "creationTimestamp", "resourceVersion", "generation", "selfLink", "managedFields"),
)
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"


class Objects:
    """The API's objects with the API server's manners."""

    def __init__(
        self,
        store: Store,
        collector: Collector,
        namespaces: Collection[str],
        source_problems: Callable[[Object], Collection[str]],
    ) -> None:
        self.store = store
        self._source_problems = source_problems
        self._collector = collector
        self._namespaces = frozenset(namespaces)
        for held in store.select(NAMESPACE.kind):
            if held["metadata"]["name"] not in self._namespaces:
                store.remove(Key(NAMESPACE.kind, "", held["metadata"]["name"]))
        for name in sorted(self._namespaces):
            self._add_namespace(name)

    def key(self, resource: Resource, namespace: str, name: str) -> Key:
        return Key(resource.kind, namespace if resource.namespaced else "", name)

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """The object; ApiError 404."""
        found = self.store.get(self.key(resource, namespace, name))
        if found is None:
            raise status.not_found(resource, name)
        return found

    def create(
        self, resource: Resource, namespace: str, body: Mapping[str, Any], *, dry_run: bool = False
    ) -> Object:
        """Store a new object; ApiError 400, 404 (namespace), 409 or 422."""
        if resource.namespaced and namespace not in self._namespaces:
            raise status.not_found(NAMESPACE, namespace)
        body = shaped(resource, body)
        _check_type(resource, namespace, body)
        metadata = dict(body.get("metadata") or {})
        if metadata.get("resourceVersion"):
            raise status.bad_request("resourceVersion should not be set on objects to be created")
        name = metadata.get("name") or _generated(resource, metadata.get("generateName"))
        uid = str(uuid.uuid4())
        metadata = {
            **{k: v for k, v in metadata.items() if k not in _SERVER_SET},
            "name": name,
            **({"namespace": namespace} if resource.namespaced else {}),
            "uid": uid,
            "creationTimestamp": stamp(),
            **({"generation": 1} if resource.generation else {}),
            **({"managedFields": _changed_now(resource)} if resource == PING_SOURCE else {}),
        }
        fresh = _completed(resource, {**copy.deepcopy(dict(body)), "metadata": metadata}, uid)
        if resource == JOB:
            fresh = admitted(fresh)
        self._validate(resource, fresh)
        key = self.key(resource, namespace, name)
        if self.store.get(key) is not None:
            raise status.already_exists(resource, name)
        return fresh if dry_run else self.store.put(key, fresh)

    def update(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Mapping[str, Any],
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Object:
        """Replace an object (or only its status); ApiError 404, 409 or 422."""
        previous = self.get(resource, namespace, name)
        body = shaped(resource, body)
        _check_type(resource, namespace, body)
        metadata = {**(body.get("metadata") or {})}
        asked = metadata.get("resourceVersion")
        if asked and asked != previous["metadata"]["resourceVersion"]:
            why = (
                "the object has been modified; please apply your changes to the latest version "
                "and try again"
            )
            raise status.conflict(resource, name, why)
        if metadata.get("uid", previous["metadata"]["uid"]) != previous["metadata"]["uid"]:
            raise status.conflict(resource, name, "Precondition failed: UID in precondition")
        if metadata.get("name", name) != name:
            raise status.bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL "
                f"({name})"
            )
        if subresource == "status":
            fresh = {**previous, "status": copy.deepcopy(body.get("status") or {})}
        else:
            fresh = _replaced(resource, previous, copy.deepcopy(dict(body)), metadata)
            self._validate(resource, fresh, previous)
        if dry_run:
            return fresh
        stored = self.store.put(self.key(resource, namespace, name), fresh)
        self._collector.finalize(self.key(resource, namespace, name))
        return stored

    def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        content_type: str,
        change: Any,
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Object:
        """Patch by content type; strategic merge counts as merge: lists are replaced."""
        previous = self.get(resource, namespace, name)
        if content_type == "application/json-patch+json":
            body = patch.json_patch(previous, change)
        elif isinstance(change, Mapping):
            body = patch.merge(previous, change)
        else:
            raise status.bad_request("the patch must be a JSON object")
        return self.update(
            resource, namespace, name, body, subresource=subresource, dry_run=dry_run
        )

    def apply(self, manifest: Mapping[str, Any]) -> Object:
        """Do what `kubectl apply` does: create, or change what the manifest changed since."""
        kind = (str(manifest.get("apiVersion")), str(manifest.get("kind")))
        if kind not in BY_TYPE:
            raise status.bad_request(f"no matches for kind {kind[1]!r} in version {kind[0]!r}")
        resource = BY_TYPE[kind]
        manifest = shaped(resource, manifest)
        metadata = manifest.get("metadata") or {}
        name, namespace = metadata.get("name") or "", metadata.get("namespace") or "default"
        if resource == NAMESPACE:
            return self._add_namespace(name)
        last = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
        annotations = {**(metadata.get("annotations") or {}), LAST_APPLIED: last}
        wanted = {**manifest, "metadata": {**metadata, "annotations": annotations}}
        existing = self.store.get(self.key(resource, namespace, name))
        if existing is None:
            return self.create(resource, namespace, wanted)
        held = existing["metadata"].get("annotations") or {}
        if held.get(LAST_APPLIED) == last:
            return existing
        change = patch.difference(json.loads(held.get(LAST_APPLIED, "{}")), manifest)
        change = patch.merge(change, {"metadata": {"annotations": {LAST_APPLIED: last}}})
        return self.update(resource, namespace, name, patch.merge(existing, change))

    def delete(
        self, resource: Resource, namespace: str, name: str, options: DeleteOptions
    ) -> Object | None:
        """Delete one; answers what is still there (finalizers, a pod's grace) or None."""
        body = self.get(resource, namespace, name)
        options.check(resource, body)
        return self._collector.delete(self.key(resource, namespace, name), options)

    def _validate(self, resource: Resource, fresh: Object, previous: Object | None = None) -> None:
        validate(resource, fresh, previous)
        if resource in (PING_SOURCE, API_SERVER_SOURCE):
            refuse_source(self._source_problems(fresh))

    def _add_namespace(self, name: str) -> Object:
        self._namespaces |= {name}
        key = Key(NAMESPACE.kind, "", name)
        labels = {"kubernetes.io/metadata.name": name}
        return self.store.get(key) or self.store.put(
            key,
            {
                "apiVersion": "v1",
                "kind": NAMESPACE.kind,
                "metadata": {
                    "name": name,
                    "uid": str(uuid.uuid4()),
                    "creationTimestamp": stamp(),
                    "labels": labels,
                },
                "spec": {"finalizers": ["kubernetes"]},
                "status": {"phase": "Active"},
            },
        )


def _check_type(resource: Resource, namespace: str, body: Mapping[str, Any]) -> None:
    for field, wanted in (("apiVersion", resource.api_version), ("kind", resource.kind)):
        if body.get(field, wanted) not in (wanted, None):
            raise status.bad_request(
                f"the {field} in the data ({body[field]}) does not match the expected {wanted}"
            )
    given = (body.get("metadata") or {}).get("namespace")
    if resource.namespaced and given not in (None, "", namespace):
        raise status.bad_request(
            f"the namespace of the provided object does not match the namespace sent on the "
            f"request: {given} and {namespace}"
        )


def _generated(resource: Resource, prefix: object) -> str:
    if not isinstance(prefix, str) or not prefix:
        cause = status.Cause("metadata.name", "Required value: name or generateName is required")
        raise status.invalid(resource, "", [cause])
    return with_suffix(prefix)


def with_suffix(prefix: str) -> str:
    """A name as Kubernetes generates it: at most 63 characters, five of them random."""
    return prefix[:58] + "".join(secrets.choice(_SUFFIX) for _ in range(5))


def _completed(resource: Resource, body: Object, uid: str) -> Object:
    body = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
    body.update(apiVersion=resource.api_version, kind=resource.kind)
    if resource.status:
        body["status"] = {}
    if resource == JOB:
        return with_defaults(body, uid)
    if resource == SECRET:
        return _secret(body)
    if resource == PING_SOURCE:
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": stamp()}
        body["status"] = {"observedGeneration": 1, "conditions": [ready]}
    return body


def _secret(body: Object) -> Object:
    plain = body.pop("stringData", None) or {}
    data = dict(body.get("data") or {})
    for name, value in plain.items():
        data[name] = base64.b64encode(str(value).encode()).decode()
    return {**body, "type": body.get("type") or "Opaque", "data": data}


def _replaced(resource: Resource, previous: Object, body: Object, metadata: Object) -> Object:
    held = previous["metadata"]
    kept = {k: held[k] for k in (*_SERVER_SET, "deletionTimestamp") if k in held}
    kept |= {k: held[k] for k in ("name", "namespace", "deletionGracePeriodSeconds") if k in held}
    fresh = _completed(resource, {**body, "metadata": {**metadata, **kept}}, held["uid"])
    if resource.status:
        fresh["status"] = previous.get("status") or {}
    if resource.generation and fresh.get("spec") != previous.get("spec"):
        fresh["metadata"]["generation"] = held.get("generation", 1) + 1
    if resource == PING_SOURCE and _defined(fresh) != _defined(previous):
        fresh["metadata"]["managedFields"] = _changed_now(resource)
    return fresh


def _defined(body: Object) -> tuple[object, object]:
    """What a manifest says of an object, without its labels."""
    annotations = body["metadata"].get("annotations") or {}
    return body.get("spec"), {k: text for k, text in annotations.items() if k != LAST_APPLIED}


def _changed_now(resource: Resource) -> list[Object]:
    """The one manager of an object: a scheduler reads since when a PingSource is as it is."""
    owner = {"manager": "knative-local", "operation": "Update", "apiVersion": resource.api_version}
    fields = {"fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}}}
    return [{**owner, "time": stamp(), **fields}]
