"""The status of a pod and its containers, as the kubelet reports it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from knative.local.kube.timestamps import stamp

Object = dict[str, Any]
RECORDED_ONLY = "local.knative.dev/recorded-only"


def waiting(reason: str, message: str = "") -> Object:
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def running() -> Object:
    return {"running": {"startedAt": stamp()}}


def terminated(
    code: int, started_at: str, *, out_of_memory: bool = False, message: str = ""
) -> Object:
    """The end of a container: reason Completed, Error or OOMKilled."""
    reason = "OOMKilled" if out_of_memory else "Completed" if code == 0 else "Error"
    end: Object = {
        "exitCode": code,
        "reason": reason,
        "startedAt": started_at,
        "finishedAt": stamp(),
        "containerID": f"local://{uuid.uuid4().hex}",
    }
    return {"terminated": {**end, **({"message": message} if message else {})}}


def container_status(container: Mapping[str, Any], state: Object) -> Object:
    """A fresh entry of containerStatuses."""
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "started": False,
        "state": state,
        "lastState": {},
    }


def with_state(entry: Object, state: Object, restarts: int) -> Object:
    """The entry after a change of state; a restart keeps the last end in `lastState`."""
    fresh = {**entry, "state": state, "restartCount": restarts}
    fresh["ready"] = fresh["started"] = "running" in state
    if "terminated" in entry["state"] and "terminated" not in state:
        fresh["lastState"] = entry["state"]
    return fresh


def pod_status(
    held: Object, phase: str, init: Sequence[Object], main: Sequence[Object], **more: str
) -> Object:
    """The pod's status from its containers' entries; `more` adds reason or message."""
    ready = phase == "Running" and all(entry["ready"] for entry in main)
    why = {"reason": "PodCompleted"} if phase == "Succeeded" else {}
    wanted = {
        # A sidecar among them goes on running.
        "Initialized": phase in ("Running", "Succeeded")
        or all("terminated" in e["state"] for e in init),
        "Ready": ready,
        "ContainersReady": ready,
        "PodScheduled": True,
    }
    before = {c["type"]: c for c in held.get("conditions", ())}
    conditions = []
    for kind, value in wanted.items():
        text = "True" if value else "False"
        last = before.get(kind, {})
        since = last["lastTransitionTime"] if last.get("status") == text else stamp()
        conditions.append(
            {"type": kind, "status": text, "lastTransitionTime": since, **({} if value else why)}
        )
    fresh = {**held, "phase": phase, "conditions": conditions, "containerStatuses": list(main)}
    if init:
        fresh["initContainerStatuses"] = list(init)
    fresh.setdefault("hostIP", "127.0.0.1")
    fresh.setdefault("podIP", "127.0.0.1")
    return {**fresh, **more}


def lost(pod: Object) -> Object:
    """The status of a pod whose process went with an earlier runtime: like a lost node.

    If all its containers had already completed, only that was left to be recorded.
    """
    message = "the local runtime ended while this pod ran; its process is gone"
    held = pod["status"]
    entries = held.get("containerStatuses") or [
        container_status(one, waiting("ContainerCreating")) for one in pod["spec"]["containers"]
    ]
    init = held.get("initContainerStatuses") or []
    if all(entry["state"].get("terminated", {}).get("exitCode") == 0 for entry in entries):
        return pod_status(held, "Succeeded", init, entries)
    ended = [
        entry
        if "terminated" in entry["state"]
        else with_state(entry, _lost_state(entry["state"], message), entry["restartCount"])
        for entry in entries
    ]
    status = pod_status(held, "Failed", init, ended, reason="NodeLost", message=message)
    disruption = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "DeletionByPodGC",
        "message": message,
        "lastTransitionTime": stamp(),
    }
    return {**status, "conditions": [*status["conditions"], disruption]}


def _lost_state(state: Object, message: str) -> Object:
    since = state.get("running", {}).get("startedAt") or stamp()
    return terminated(137, since, message=message)
