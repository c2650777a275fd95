"""Carries out what `jobs.plan` decides, each time that a Job or one of its pods changes."""

from __future__ import annotations

import asyncio
import logging
import uuid
from functools import partial
from typing import Any

from knative.local.broker.limiter import CallLater, Handle
from knative.local.kube import jobs
from knative.local.kube.collector import Collector, DeleteOptions
from knative.local.kube.objects import with_suffix
from knative.local.kube.resources import JOB, POD
from knative.local.kube.store import Change, Key, Object, Store
from knative.local.kube.timestamps import now, stamp

logger = logging.getLogger(__name__)


class JobController:
    """One worker that looks at Jobs one after the other, so that no two plans overlap."""

    def __init__(
        self, store: Store, collector: Collector, backoff_base_s: float, call_later: CallLater
    ) -> None:
        self._call_later = call_later
        self._store = store
        self._collector = collector
        self._backoff_base_s = backoff_base_s
        self._due: dict[Key, None] = {}
        self._wake = asyncio.Event()
        self._timers: dict[Key, Handle] = {}
        store.listen(self._follow)

    async def run(self) -> None:
        """Reconcile until cancelled."""
        for job in self._store.select(JOB.kind):
            self._enqueue(_key(JOB.kind, job))
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._due:
                    key = next(iter(self._due))
                    del self._due[key]
                    try:
                        self._reconcile(key)
                    except Exception:
                        logger.exception("cannot look after job %s/%s", key.namespace, key.name)
                    await asyncio.sleep(0)  # one Job's turn each: requests are served in between
        finally:
            for timer in self._timers.values():
                timer.cancel()

    def _follow(self, change: Change) -> None:
        if change.key.kind == JOB.kind:
            self._enqueue(change.key)
        elif change.key.kind == POD.kind:
            for owner in change.object["metadata"].get("ownerReferences", ()):
                self._enqueue(Key(JOB.kind, change.key.namespace, owner["name"]))
            if change.type != "DELETED":
                self._release(change.key, change.object)

    def _enqueue(self, key: Key) -> None:
        self._due[key] = None
        self._wake.set()

    def _release(self, key: Key, pod: Object) -> None:
        """A pod whose Job is gone is not counted: take the finalizer off."""
        owners = pod["metadata"].get("ownerReferences", ())
        if not any(self._store.by_uid(owner["uid"]) for owner in owners):
            self._untrack(key, pod)

    def _reconcile(self, key: Key) -> None:
        if timer := self._timers.pop(key, None):
            timer.cancel()
        job = self._store.get(key)
        if job is None:
            return
        uid = job["metadata"]["uid"]
        owned = [one for one in self._store.dependents(uid) if one.kind == POD.kind]
        pods = [pod for one in owned if (pod := self._store.get(one)) is not None]
        plan = jobs.plan(job, pods, now(), self._backoff_base_s)
        with self._store.together():
            self._store.put(key, {**job, "status": plan.status})
            for pod in plan.count:
                self._untrack(_key(POD.kind, pod), pod)
            if plan.create:
                self._create_pod(job)
        for pod in plan.delete:
            self._collector.delete(_key(POD.kind, pod), DeleteOptions("Background"))
        if plan.remove:
            self._collector.delete(key, DeleteOptions("Foreground"))
        if plan.wake_s is not None:
            again = partial(self._enqueue, key)
            self._timers[key] = self._call_later(max(plan.wake_s, 0), again)

    def _untrack(self, key: Key, pod: Object) -> None:
        finalizers = list(pod["metadata"].get("finalizers") or ())
        if jobs.TRACKING not in finalizers:
            return
        finalizers.remove(jobs.TRACKING)
        metadata = {k: v for k, v in pod["metadata"].items() if k != "finalizers"}
        if finalizers:
            metadata["finalizers"] = finalizers
        self._store.put(key, {**pod, "metadata": metadata})
        self._collector.finalize(key)

    def _create_pod(self, job: Object) -> None:
        template: Any = job["spec"]["template"]
        metadata, spec = template.get("metadata") or {}, template["spec"]
        name = with_suffix(f"{job['metadata']['name'][:57]}-")
        pod = {
            "apiVersion": "v1",
            "kind": POD.kind,
            "metadata": {
                "name": name,
                "generateName": f"{job['metadata']['name']}-",
                "namespace": job["metadata"]["namespace"],
                "uid": str(uuid.uuid4()),
                "creationTimestamp": stamp(),
                "labels": dict(metadata.get("labels") or {}),
                "annotations": dict(metadata.get("annotations") or {}),
                "finalizers": [jobs.TRACKING],
                "ownerReferences": [
                    {
                        "apiVersion": JOB.api_version,
                        "kind": JOB.kind,
                        "name": job["metadata"]["name"],
                        "uid": job["metadata"]["uid"],
                        "controller": True,
                        "blockOwnerDeletion": True,
                    }
                ],
            },
            "spec": {**spec, "nodeName": "local"},
            "status": {
                "phase": "Pending",
                "conditions": [
                    {"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp()}
                ],
                "startTime": stamp(),
                "qosClass": "BestEffort",
            },
        }
        self._store.put(_key(POD.kind, pod), pod)


def _key(kind: str, body: Object) -> Key:
    return Key(kind, body["metadata"]["namespace"], body["metadata"]["name"])
