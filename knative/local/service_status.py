"""What Knative's controllers write into the status of Services and Revisions, by what runs here."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from knative.local.kube import KubeApi
from knative.local.kube.timestamps import stamp
from knative.local.revision import Revision, State

SERVING = "serving.knative.dev"
INTERVAL_S = 1.0


async def keep_status(kube: KubeApi, revisions: Collection[Revision]) -> None:
    """Until cancelled: write each change of a state into the Kubernetes API."""
    seen: dict[Revision, object] = {}
    while True:
        for revision in revisions:
            counts = (revision.counts.starts, revision.counts.crashes)
            now = (revision.state, revision.reason, revision.pid, revision.generation, counts)
            if seen.get(revision) != now:
                write_status(kube, revision)
                seen[revision] = now
        await asyncio.sleep(INTERVAL_S)


def write_status(kube: KubeApi, revision: Revision) -> None:
    """The Service's status, and its newest Revision, the only one that is kept."""
    service = revision.service
    name = f"{service.name}-{revision.generation:05d}"
    labels = {f"{SERVING}/service": service.name}
    for held in kube.list("Revision", service.namespace):
        metadata = held["metadata"]
        if metadata["name"] != name and labels.items() <= metadata["labels"].items():
            kube.drop("Revision", service.namespace, metadata["name"])
    # On a cluster its pods say so; here a process is none.
    annotations = {
        "local.knative.dev/starts": str(revision.counts.starts),
        "local.knative.dev/crashes": str(revision.counts.crashes),
    }
    metadata = {
        "name": name,
        "namespace": service.namespace,
        "labels": labels,
        "annotations": annotations,
    }
    kube.apply({"apiVersion": f"{SERVING}/v1", "kind": "Revision", "metadata": metadata})
    found = {
        "actualReplicas": int(revision.pid is not None),
        "conditions": [
            _condition("Active", *_active(revision.state)),
            _condition("ContainerHealthy", *_healthy(revision)),
            _condition("Ready", *_ready(revision)),
        ],
    }
    kube.observe("Revision", service.namespace, name, found)
    names = {"latestCreatedRevisionName": name, "latestReadyRevisionName": name}
    ready = _condition("Ready", *_ready(revision))
    kube.observe("Service", service.namespace, service.name, {**names, "conditions": [ready]})


def _active(state: State) -> tuple[str, str, str]:
    """Whether there is a pod, as the autoscaler says it."""
    if state is State.ZERO or state is State.FAILED:
        return "False", "NoTraffic", "The target is not receiving traffic."
    if state is State.STARTING:
        return "Unknown", "Queued", "Requests to the target are being buffered."
    return "True", "", ""


def _healthy(revision: Revision) -> tuple[str, str, str]:
    """Whether the last process ran well; a crash is reported until the next one is ready."""
    return ("False", "ContainerExited", revision.reason) if revision.reason else ("True", "", "")


def _ready(revision: Revision) -> tuple[str, str, str]:
    if revision.state is State.FAILED:
        return "False", "RevisionFailed", revision.reason
    return "True", "", ""


def _condition(type_: str, status: str, reason: str, message: str) -> dict[str, Any]:
    found = {"type": type_, "status": status, "lastTransitionTime": stamp()}
    return found | ({"reason": reason, "message": message} if reason else {})
