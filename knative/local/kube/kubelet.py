"""Follows the pods in the store: starts each, stops the deleted, buries the lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from knative.local.kube import pod_status
from knative.local.kube.collector import Collector
from knative.local.kube.machine import Machine
from knative.local.kube.pods import MIN_SIDECAR_GRACE_S, PodRun, remove_folder
from knative.local.kube.process import sweep
from knative.local.kube.resources import CONFIG_MAP, POD, SECRET
from knative.local.kube.store import Change, Key, Object, Store

logger = logging.getLogger(__name__)
_LAST_GRACE_S = 5.0


class Kubelet:
    """All pods of this machine; `folder` holds one folder of logs and volumes per pod."""

    def __init__(
        self,
        store: Store,
        collector: Collector,
        machine: Machine,
        folder: Path,
        *,
        max_pods: int,
        backoff_base_s: float,
    ) -> None:
        self._store, self._collector, self._machine = store, collector, machine
        self._folder = folder
        self._backoff_base_s = backoff_base_s
        self._slots = asyncio.Semaphore(max_pods)
        self._runs: dict[Key, tuple[PodRun, asyncio.Task[None]]] = {}
        self._closed = False

    def start(self) -> None:
        """Take up the pods that the store holds: start the new ones, fail the lost ones."""
        for pod in self._store.select(POD.kind):
            metadata = pod["metadata"]
            key = Key(POD.kind, metadata["namespace"], metadata["name"])
            records = list(self.folder_of(pod).glob("*.pid"))
            for record in records:
                sweep(record, metadata["uid"])
            phase = pod["status"].get("phase")
            if phase in ("Succeeded", "Failed"):
                self._collector.finalize(key)
            elif records or phase == "Running" or "deletionTimestamp" in metadata:
                self._store.put(key, {**pod, "status": pod_status.lost(pod)})
                self._collector.finalize(key)
            else:
                self._begin(key, pod)
        self._store.listen(self._follow)

    async def stop(self) -> None:
        """End all processes: SIGTERM, then SIGKILL after five seconds; sidecars last."""
        self._closed = True
        tasks = [task for _, task in self._runs.values()]
        for run, _ in self._runs.values():
            run.stop(_LAST_GRACE_S, reason="NodeShutdown", message="the local runtime stopped")
        if tasks:
            await asyncio.wait(tasks, timeout=_LAST_GRACE_S + MIN_SIDECAR_GRACE_S + 1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def folder_of(self, pod: Object) -> Path:
        return self._folder / str(pod["metadata"]["uid"])

    def _follow(self, change: Change) -> None:
        if change.key.kind in (CONFIG_MAP.kind, SECRET.kind):
            for run, _ in self._runs.values():
                run.config_changed.set()
        if change.key.kind != POD.kind or self._closed:
            return
        metadata = change.object["metadata"]
        if change.type == "ADDED":
            self._begin(change.key, change.object)
        elif change.type == "DELETED":
            remove_folder(self.folder_of(change.object))
        elif "deletionTimestamp" in metadata and change.key in self._runs:
            self._runs[change.key][0].stop(float(metadata["deletionGracePeriodSeconds"]))

    def _begin(self, key: Key, pod: Object) -> None:
        def lookup(kind: str, name: str) -> Mapping[str, Any] | None:
            return self._store.get(Key(kind, key.namespace, name))

        run = PodRun(
            key,
            pod,
            store=self._store,
            machine=self._machine,
            lookup=lookup,
            folder=self.folder_of(pod),
            backoff_base_s=self._backoff_base_s,
        )
        task = asyncio.create_task(self._run(key, run))
        self._runs[key] = (run, task)

    async def _run(self, key: Key, run: PodRun) -> None:
        try:
            await run.run(self._slots)
        except Exception as error:
            logger.exception("pod %s/%s could not be run", key.namespace, key.name)
            self._fail(key, f"{type(error).__name__}: {error}")
        finally:
            del self._runs[key]
            for record in run.folder.glob("*.pid"):
                record.unlink(missing_ok=True)
            self._collector.finalize(key)

    def _fail(self, key: Key, reason: str) -> None:
        pod = self._store.get(key)
        if pod is not None:
            status = {**pod_status.lost(pod), "reason": "StartError", "message": reason}
            self._store.put(key, {**pod, "status": status})
