"""Puts the parts together; what `knative.local` plugs in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.types import Receive, Scope, Send

from knative.local.broker.limiter import CallLater, call_later
from knative.local.kube.api import Api
from knative.local.kube.collector import Collector
from knative.local.kube.job_controller import JobController
from knative.local.kube.kubelet import Kubelet
from knative.local.kube.machine import Machine
from knative.local.kube.objects import Objects
from knative.local.kube.sources import ApiServerSources, Publish
from knative.local.kube.store import Change, Key, Object, Store
from knative.local.manifests.images import Program


async def _nowhere(source: Mapping[str, Any], headers: Mapping[str, str], body: bytes) -> bool:
    return True


class KubeApi:
    """An ASGI application and the controllers behind it; make and use it on one event loop.

    store        folder for the database, logs and volumes
    namespaces   those that exist; creating an object elsewhere is 404
    programs     what runs for an image, by its name without a tag
    environment  variables that every Job process gets (HTTP_PROXY, KUBECONFIG ...)
    resolve_env  maps each environment value (a cluster's host name to a local address)
    source_problems  why a PingSource or ApiServerSource cannot be run, in words
    publish      takes the events of ApiServerSources: (source, headers, body) -> accepted?
    waits_for_secrets  a pod waits for a Secret; False: where its image has no program, it is
                 only recorded, and says how to make the Secret
    call_later   wakes a Job at its time
    backoff_base_s  first pause after a failed pod or container; Kubernetes has 10 s
    """

    def __init__(
        self,
        store: Path,
        *,
        namespaces: Collection[str],
        environment: Callable[[], Mapping[str, str]],
        programs: Mapping[str, Program] | None = None,
        resolve_env: Callable[[str], str] = str,
        source_problems: Callable[[Object], Collection[str]] = lambda _: (),
        publish: Publish = _nowhere,
        backoff_base_s: float = 10.0,
        max_pods: int = 16,
        waits_for_secrets: bool = True,
        call_later: CallLater = call_later,
    ) -> None:
        self._store = Store(store / "kube.sqlite")
        collector = Collector(self._store)
        self._objects = Objects(self._store, collector, namespaces, source_problems)
        machine = Machine(programs or {}, environment, resolve_env, waits_for_secrets)
        self._kubelet = Kubelet(
            self._store,
            collector,
            machine,
            store / "pods",
            max_pods=max_pods,
            backoff_base_s=backoff_base_s,
        )
        self._jobs = JobController(self._store, collector, backoff_base_s, call_later)
        self._sources = ApiServerSources(self._store, publish)
        self._api = Api(self._store, self._objects, self._kubelet)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to run Jobs: new ones start, those of a killed runtime are taken up."""
        self._kubelet.start()
        self._tasks = [
            asyncio.create_task(self._jobs.run()),
            asyncio.create_task(self._sources.run()),
        ]

    async def stop(self) -> None:
        """End streams and processes; unfinished Jobs go on at the next start."""
        self._api.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._kubelet.stop()
        self._store.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] == "http":
            await self._api(scope, receive, send)

    def apply(self, manifest: Mapping[str, Any]) -> Object:
        """What `kubectl apply` does with a manifest; ApiError says why not.

        An unchanged Job is left alone, finished or not; one that its TTL removed is made, and so
        run, again; a changed template is refused with 422, as a Job's template never changes.
        """
        return self._objects.apply(manifest)

    def observe(self, kind: str, namespace: str, name: str, status: Mapping[str, Any]) -> None:
        """Write a status as a controller does: a condition that stays keeps its time."""
        key = Key(kind, namespace, name)
        if held := self._store.get(key):
            old = {one["type"]: one for one in (held.get("status") or {}).get("conditions") or ()}
            conditions = [_unchanged(old.get(one["type"]), one) for one in status["conditions"]]
            self._store.put(key, {**held, "status": {**status, "conditions": conditions}})

    def drop(self, kind: str, namespace: str, name: str) -> None:
        """Take an object away that only this program makes."""
        self._store.remove(Key(kind, namespace, name))

    def list(self, kind: str, namespace: str | None = None) -> Sequence[Object]:
        """All objects of a kind (`Job`, `PingSource` ...); read only."""
        return self._store.select(kind, namespace)

    def on_change(self, kind: str, callback: Callable[[str, Object], None]) -> Callable[[], None]:
        """Call `callback(type, object)` for each change of a kind; the answer ends it."""

        def follow(change: Change) -> None:
            if change.key.kind == kind:
                callback(change.type, change.object)

        return self._store.listen(follow)


def _unchanged(old: Object | None, new: Object) -> Object:
    """The old condition where the new one says the same at another time."""
    time = "lastTransitionTime"
    return old if old is not None and old | {time: ""} == new | {time: ""} else new
