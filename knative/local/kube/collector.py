"""Deletion: propagation policies, finalizers, a pod's grace, and garbage collection by owner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from knative.local.kube import status
from knative.local.kube.resources import BY_TYPE, JOB, POD, Resource
from knative.local.kube.store import Change, Key, Object, Store
from knative.local.kube.timestamps import now, seconds, stamp

Policy = Literal["Background", "Foreground", "Orphan"]
FOREGROUND = "foregroundDeletion"


@dataclass(frozen=True)
class DeleteOptions:
    """`metav1.DeleteOptions`; None takes the kind's default."""

    policy: Policy | None = None
    grace_s: int | None = None
    uid: str | None = None
    resource_version: str | None = None

    @classmethod
    def read(cls, body: Any, query: Mapping[str, str]) -> DeleteOptions:
        """From the request's body, else its query; ApiError 400, or 422 for an unknown policy."""
        body = {} if body is None else body
        if not isinstance(body, Mapping):
            raise status.bad_request("DeleteOptions must be a JSON object")
        policy = body.get("propagationPolicy") or query.get("propagationPolicy")
        orphan = body.get("orphanDependents", query.get("orphanDependents"))
        if policy is None and orphan is not None:
            policy = "Orphan" if orphan in (True, "true") else "Background"
        if policy not in (None, "", "Background", "Foreground", "Orphan"):
            raise status.ApiError(
                422,
                "Invalid",
                f'DeleteOptions is invalid: propagationPolicy: Unsupported value: "{policy}": '
                'supported values: "Foreground", "Background", "Orphan"',
            )
        grace = body.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
        try:
            grace_s = None if grace is None else int(grace)
        except (ValueError, TypeError) as error:
            raise status.bad_request(f"gracePeriodSeconds: {grace!r} is no integer") from error
        wanted = body.get("preconditions") or {}
        if not isinstance(wanted, Mapping):
            raise status.bad_request("DeleteOptions.preconditions must be an object")
        return cls(
            cast("Policy | None", policy or None),
            grace_s,
            wanted.get("uid"),
            wanted.get("resourceVersion"),
        )

    def check(self, resource: Resource, body: Object) -> None:
        """Refuse with 409 if a precondition does not hold."""
        metadata = body["metadata"]
        for field, wanted in (("uid", self.uid), ("resourceVersion", self.resource_version)):
            if wanted not in (None, metadata[field]):
                why = (
                    f"Precondition failed: {field} in precondition: {wanted}, "
                    f"in object meta: {metadata[field]}"
                )
                raise status.conflict(resource, metadata["name"], why)


class Collector:
    """Deletes objects and whatever belongs to them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        store.listen(self._follow)

    def delete(self, key: Key, options: DeleteOptions) -> Object | None:
        """Start the deletion; answers what is still there, or None if it is gone."""
        body = self._store.get(key)
        if body is None:
            return None
        # batch/v1 orphans a Job's pods unless asked otherwise, as it has since 2016.
        policy = options.policy or ("Orphan" if key.kind == JOB.kind else "Background")
        metadata = body["metadata"]
        if policy == "Orphan":
            self._orphan(metadata["uid"])
        finalizers = list(metadata.get("finalizers") or ())
        if policy == "Foreground" and FOREGROUND not in finalizers:
            finalizers.append(FOREGROUND)
        grace_s, given_s = 0, metadata.get("deletionGracePeriodSeconds", 0)
        asked_at = seconds(metadata.get("deletionTimestamp") or stamp(now() + given_s)) - given_s
        if key.kind == POD.kind:
            wanted_s = options.grace_s
            if wanted_s is None:
                wanted_s = body["spec"].get("terminationGracePeriodSeconds", 30)
            grace_s = min(max(0, wanted_s), metadata.get("deletionGracePeriodSeconds", wanted_s))
        # A pod's is the time at which it will be gone at the latest.
        marked = {
            **metadata,
            "deletionTimestamp": stamp(asked_at + grace_s),
            "deletionGracePeriodSeconds": grace_s,
        }
        if finalizers:
            marked["finalizers"] = finalizers
        if finalizers or _is_running(key, body):
            self._store.put(key, {**body, "metadata": marked})
            if policy == "Foreground":
                self._collect(metadata["uid"])
            return self.finalize(key)
        self._store.remove(key)
        return None

    def finalize(self, key: Key) -> Object | None:
        """Remove a deleted object once nothing holds it; answers it while it is there."""
        body = self._store.get(key)
        if body is None or "deletionTimestamp" not in body["metadata"]:
            return body
        finalizers = list(body["metadata"].get("finalizers") or ())
        if FOREGROUND in finalizers and not self._blockers(body["metadata"]["uid"]):
            finalizers.remove(FOREGROUND)
        if finalizers or _is_running(key, body):
            return body
        self._store.remove(key)
        return None

    def _blockers(self, uid: str) -> list[Key]:
        return [
            key
            for key in self._store.dependents(uid)
            for owner in (self._store.get(key) or {"metadata": {}})["metadata"]["ownerReferences"]
            if owner["uid"] == uid and owner.get("blockOwnerDeletion")
        ]

    def _orphan(self, uid: str) -> None:
        for key in self._store.dependents(uid):
            body = self._store.get(key)
            if body is not None:
                owners = [o for o in body["metadata"]["ownerReferences"] if o["uid"] != uid]
                metadata = {k: v for k, v in body["metadata"].items() if k != "ownerReferences"}
                if owners:
                    metadata["ownerReferences"] = owners
                self._store.put(key, {**body, "metadata": metadata})

    def _collect(self, uid: str) -> None:
        for key in self._store.dependents(uid):
            body = self._store.get(key)
            if body is None or "deletionTimestamp" in body["metadata"]:
                continue
            others = [o for o in body["metadata"]["ownerReferences"] if o["uid"] != uid]
            if any(self._exists(owner, key.namespace) for owner in others):
                owners = {**body["metadata"], "ownerReferences": others}
                self._store.put(key, {**body, "metadata": owners})
            else:
                self.delete(key, DeleteOptions("Background"))

    def _exists(self, owner: Mapping[str, Any], namespace: str) -> bool:
        resource = BY_TYPE.get((owner["apiVersion"], owner["kind"]))
        if resource is None:
            return True  # a kind that is not served here: it cannot be known that it is gone
        held = self._store.by_uid(owner["uid"])
        return held is not None and held.namespace in ("", namespace)

    def _follow(self, change: Change) -> None:
        metadata = change.object["metadata"]
        owners = metadata.get("ownerReferences") or ()
        if change.type == "DELETED":
            self._collect(metadata["uid"])
        alive = [one for one in owners if self._exists(one, change.key.namespace)]
        if change.type == "ADDED" and owners and not alive:
            self.delete(change.key, DeleteOptions("Background"))
        if change.type != "ADDED":
            for owner in owners:
                holder = self._store.by_uid(owner["uid"])
                if holder is not None:
                    self.finalize(holder)


def _is_running(key: Key, body: Object) -> bool:
    """A pod with a process is removed only once the process has ended."""
    if key.kind != POD.kind:
        return False
    return (body.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
