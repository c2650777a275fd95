"""The overlay in the local Kubernetes API: objects to read, PingSources, and Jobs to run."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any

import httpx
from pydantic import ValidationError

from knative.local.broker.limiter import CallLater
from knative.local.environment import Site, api_object, injected
from knative.local.errors import StartError
from knative.local.kube import ApiError, KubeApi
from knative.local.manifests import admission
from knative.local.manifests.core import ConfigMap, Job, Namespace, Secret
from knative.local.manifests.load import World, parse
from knative.local.manifests.meta import Manifest
from knative.local.manifests.problems import faults
from knative.local.manifests.references import address, faults_of
from knative.local.manifests.serving import KnativeService
from knative.local.manifests.sources import ApiServerSource, PingSource
from knative.local.network import Network
from knative.local.ping_sources import Clock

logger = logging.getLogger(__name__)

_FROM_OVERLAY = "local.knative.dev/from-overlay"
_SHOWN = (ConfigMap, Secret, KnativeService, PingSource, ApiServerSource)
_KEPT_METADATA = ("name", "namespace", "labels", "annotations")
_JOB_POLL_S = 0.1


class ClusterApi:
    """`app` answers HTTP; `start` applies the overlay, `run_jobs` runs its Jobs anew."""

    def __init__(
        self, world: World, site: Site, network: Network, clock: Clock, call_later: CallLater
    ) -> None:
        self._world = world
        self._clock = clock
        self._network = network
        namespaces = {item.namespace for item in world.objects} | {"default"}
        self.app = KubeApi(
            site.data / "kube",
            namespaces=namespaces | {item.name for item in world.all(Namespace)},
            programs=world.programs,
            environment=site.base_env,
            resolve_env=site.localised,
            source_problems=self._problems,
            publish=self._publish,
            waits_for_secrets=False,
            call_later=call_later,
        )

    async def start(self) -> None:
        """Apply the overlay's objects, drop those that it no longer has, follow PingSources."""
        wanted = {("PingSource", i.namespace, i.name) for i in self._world.all(PingSource)}
        wanted |= {
            ("ApiServerSource", i.namespace, i.name) for i in self._world.all(ApiServerSource)
        }
        for kind in ("PingSource", "ApiServerSource"):
            for held in self.app.list(kind):
                metadata = held["metadata"]
                key = (kind, metadata["namespace"], metadata["name"])
                if _FROM_OVERLAY in (metadata.get("annotations") or {}) and key not in wanted:
                    await self._delete(
                        f"/apis/sources.knative.dev/v1/namespaces/{key[1]}", kind, key[2]
                    )
        for item in self._world.objects:
            if isinstance(item, _SHOWN):
                self._apply(item, api_object(item))
        for held in self.app.list("PingSource"):
            self._follow("ADDED", held)
        self.app.on_change("PingSource", self._follow)
        await self.app.start()

    async def stop(self) -> None:
        await self.app.stop()

    async def run_jobs(self, timeout_s: float) -> None:
        """Run every Job of the overlay and wait; StartError says which failed, and its log."""
        jobs = self._world.all(Job)
        for job in jobs:
            if any(_finished(held) for held in self._held(job)):
                await self._delete(f"/apis/batch/v1/namespaces/{job.namespace}", "Job", job.name)
            self._apply(job, _with_sinks(job, self._world))
        deadline = asyncio.get_running_loop().time() + timeout_s
        for job in jobs:
            while not (state := _finished(next(iter(self._held(job)), {}))):
                if asyncio.get_running_loop().time() > deadline:
                    raise StartError(
                        f"{job} did not end within {timeout_s:g} s{await self._last_log_line(job)}"
                    )
                await asyncio.sleep(_JOB_POLL_S)
            if state == "Failed":
                raise StartError(f"{job} failed{await self._last_log_line(job)}")

    def jobs(self) -> dict[str, int]:
        """How many Jobs are "running", "complete", "failed"."""
        counts = {"running": 0, "complete": 0, "failed": 0}
        for held in self.app.list("Job"):
            counts[_finished(held).lower() or "running"] += 1
        return counts

    def running_pods(self) -> list[str]:
        """The names of the Jobs' pods that have not ended."""
        pods = self.app.list("Pod")
        running = (p for p in pods if p["status"].get("phase") in ("Pending", "Running"))
        return [pod["metadata"]["name"] for pod in running]

    def _held(self, job: Job) -> list[Mapping[str, Any]]:
        held = self.app.list("Job", job.namespace)
        return [item for item in held if item["metadata"]["name"] == job.name]

    def _apply(self, item: Manifest, body: dict[str, Any]) -> None:
        annotations = {**item.metadata.annotations, _FROM_OVERLAY: "true"}
        body["metadata"] = {**body["metadata"], "annotations": annotations}
        try:
            self.app.apply(body)
        except ApiError as error:
            raise StartError(f"{item}: {error}") from None

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url="http://kubernetes"
        )

    async def _delete(self, base: str, kind: str, name: str) -> None:
        async with self._client() as client:
            url = f"{base}/{kind.lower()}s/{name}?propagationPolicy=Background"
            answer = await client.delete(url)
        if answer.status_code not in (200, 202, 404):
            raise StartError(f"{kind} {name} cannot be deleted: {answer.text[:200]}")

    async def _last_log_line(self, job: Job) -> str:
        """The last line of the log of the Job's last pod."""
        labels = {"job-name": job.name}
        pods = [
            pod["metadata"]["name"]
            for pod in self.app.list("Pod", job.namespace)
            if labels.items() <= pod["metadata"].get("labels", {}).items()
        ]
        if not pods:
            return ""
        async with self._client() as client:
            answer = await client.get(f"/api/v1/namespaces/{job.namespace}/pods/{pods[-1]}/log")
        lines = [line for line in answer.text.splitlines() if line.strip()]
        return f": {lines[-1]}" if lines else ""

    def _problems(self, held: Mapping[str, Any]) -> list[str]:
        try:
            found = faults_of(_typed(held), self._world.objects)
        except ValidationError as error:
            found = list(faults(error))
        return [f"{'.'.join(map(str, path))}: {reason}" for path, reason in found]

    def _follow(self, change: str, held: Mapping[str, Any]) -> None:
        key = f"{held['metadata']['namespace']}/{held['metadata']['name']}"
        if change == "DELETED" or held["metadata"].get("deletionTimestamp"):
            self._clock.drop(key)
            return
        problems = list(admission.refusals(held))
        try:
            source = _typed(held)
        except ValidationError as error:
            problems += faults(error)
        if problems:  # stored before it was refused
            logger.error("PingSource %s is ignored: %s", key, problems)
            return
        assert isinstance(source, PingSource)
        self._clock.put(source)

    async def _publish(
        self, held: Mapping[str, Any], headers: Mapping[str, str], body: bytes
    ) -> bool:
        source = _typed(held)
        assert isinstance(source, ApiServerSource)
        url = address(source.spec.sink, source.namespace)
        sent = [(name.encode(), value.encode()) for name, value in headers.items()]
        answer = await self._network("POST", url, sent, body, None)
        return 200 <= answer.status < 300


def _typed(held: Mapping[str, Any]) -> Manifest:
    metadata = {key: held["metadata"][key] for key in _KEPT_METADATA if key in held["metadata"]}
    body = {key: held.get(key) for key in ("apiVersion", "kind", "spec")}
    return parse({**body, "metadata": metadata})


def _finished(job: Mapping[str, Any]) -> str:
    """`Complete` or `Failed`; empty while the Job runs."""
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return str(condition["type"])
    return ""


def _with_sinks(job: Job, world: World) -> dict[str, Any]:
    """The Job with what SinkBindings inject, as their webhook does it."""
    body: dict[str, Any] = json.loads(json.dumps(api_object(job)))
    container = body["spec"]["template"]["spec"]["containers"][0]
    added = [{"name": name, "value": value} for name, value in injected(job, world).items()]
    container["env"] = [*container.get("env", []), *added]
    return body
