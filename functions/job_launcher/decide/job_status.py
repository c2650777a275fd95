"""What a Job and its pods in Kubernetes say: the Job's state, and why it ended or waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

Object = Mapping[str, Any]
# `recorded`: the machine could not run it.
State = Literal["queued", "starting", "running", "succeeded", "recorded", "failed", "cancelled"]

QUEUED = "queued"
ACTIVE = ("starting", "running")
ENDED = ("succeeded", "recorded", "failed", "cancelled")
# The pod's reason where the local Kubernetes lacks the command: the Job completes without a run.
RECORDED_ONLY = "RecordedOnly"
# Containers without which the agent does not start.
AROUND = ("workspace", "setup")
# Containers that run before the agent starts, and have nothing to post.
BEFORE = ("model", *AROUND)
# Reasons of a pod that a node ended; other disruptions are in its conditions.
_DISRUPTED = ("Evicted", "NodeLost", "NodeShutdown", "Terminated", "UnexpectedAdmissionError")


@dataclass(frozen=True)
class JobStatus:
    """A Job's state in Kubernetes."""

    state: State
    started_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str = ""
    message: str = ""


def job_status(job: Object) -> JobStatus:
    """Read a Job's status. A failed pod does not fail the Job while retries remain.

    >>> job_status({"status": {"failed": 2, "active": 1}}).state
    'running'
    >>> job_status({"status": {"active": 1, "ready": 0}}).state
    'starting'
    """
    status = job.get("status") or {}
    started = _time(status.get("startTime"))
    for condition in status.get("conditions") or ():
        if condition.get("status") != "True" or condition["type"] not in ("Complete", "Failed"):
            continue
        return JobStatus(
            "succeeded" if condition["type"] == "Complete" else "failed",
            started,
            _time(status.get("completionTime")) or _time(condition.get("lastTransitionTime")),
            str(condition.get("reason") or ""),
            str(condition.get("message") or ""),
        )
    # What a queue has evicted before it ran counts as failed.
    ran = status.get("ready") or status.get("failed") or status.get("succeeded")
    ran = ran and not waits_for_admission(job)
    return JobStatus("running" if ran else "starting", started)


def waits_for_admission(job: Object) -> bool:
    """Is the Job suspended, until a queue such as Kueue's admits it?"""
    conditions = (job.get("status") or {}).get("conditions") or ()
    suspended = any(one["type"] == "Suspended" and one["status"] == "True" for one in conditions)
    return suspended or bool((job.get("spec") or {}).get("suspend"))


def suspended_at(job: Object) -> datetime | None:
    """Since when the Job is suspended, by Kubernetes' clock."""
    conditions = (job.get("status") or {}).get("conditions") or ()
    return next(
        (
            _time(one.get("lastTransitionTime"))
            for one in conditions
            if one["type"] == "Suspended" and one["status"] == "True"
        ),
        None,
    )


@dataclass(frozen=True)
class PodTermination:
    """How the last pod of a Job ended, by which of its containers; `lost`: not by itself."""

    pod: str
    reason: str | None = None
    exit_code: int | None = None
    message: str = ""
    container: str = ""
    lost: bool = False


def last_termination(pods: Sequence[Object]) -> PodTermination | None:
    """Return how the newest pod ended; None without pods."""
    if not pods:
        return None
    pod = max(pods, key=lambda p: str(p["metadata"].get("creationTimestamp") or ""))
    status = pod.get("status") or {}
    if status.get("reason") == RECORDED_ONLY:
        name = str(pod["metadata"]["name"])
        return PodTermination(name, RECORDED_ONLY, None, str(status.get("message") or ""))
    ends = [
        (str(entry.get("name") or ""), state["terminated"])
        for part in ("initContainerStatuses", "containerStatuses")
        for entry in status.get(part) or ()
        if "terminated" in (state := entry.get("state") or {})
    ]
    failed = next((end for end in ends if end[1].get("exitCode")), None)
    container, last = failed or (ends[-1] if ends else ("", {}))
    disrupted, waiting = disruption(pod), waiting_reason(pod)
    ended = last.get("reason") or status.get("reason") or waiting.partition(":")[0] or None
    return PodTermination(
        pod=str(pod["metadata"]["name"]),
        reason=disrupted.partition(": ")[0] or ended,
        exit_code=last.get("exitCode"),
        message=disrupted.partition(": ")[2]
        or str(last.get("message") or status.get("message") or waiting),
        container=container if failed else "",
        lost=bool(disrupted),
    )


def disruption(pod: Object) -> str:
    """Return Kubernetes' reason and message why a pod was ended from outside; empty if not.

    >>> disruption({"status": {"reason": "Evicted", "message": "The node was low on resource"}})
    'Evicted: The node was low on resource'
    """
    status = pod.get("status") or {}
    if status.get("reason") in _DISRUPTED:
        return f"{status['reason']}: {status.get('message') or ''}".rstrip(": ")
    for condition in status.get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return f"{condition.get('reason')}: {condition.get('message') or ''}".rstrip(": ")
    return ""


def outlasts_grace(pod: Object, now: datetime, grace_s: int) -> bool:
    """Does a pod that is being deleted run on, `grace_s` seconds after its SIGTERM?

    Its agent does, or what comes before an agent that has not started: then there is no work to
    post, for which a longer grace is meant.
    """
    metadata, status = pod["metadata"], pod.get("status") or {}
    deadline = _time(metadata.get("deletionTimestamp"))
    given_s = int(metadata.get("deletionGracePeriodSeconds") or 0)
    if deadline is None or given_s <= grace_s:
        return False
    states: dict[str, Object] = {
        str(entry.get("name")): entry.get("state") or {}
        for part in ("initContainerStatuses", "containerStatuses")
        for entry in status.get(part) or ()
    }
    agent = states.get("agent", {})
    names = ("agent",) if "running" in agent or "terminated" in agent else BEFORE
    runs = any("running" in states.get(name, {}) for name in names)
    return runs and now >= deadline - timedelta(seconds=given_s - grace_s)


def waiting_reason(pod: Object) -> str:
    """Return Kubernetes' reason and message why a pod does not run; empty where nothing is wrong.

    >>> waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x"'}
    >>> waiting_reason({"status": {"containerStatuses": [{"state": {"waiting": waiting}}]}})
    'ImagePullBackOff: Back-off pulling image "x"'
    """
    status = pod.get("status") or {}
    for part in ("initContainerStatuses", "containerStatuses"):
        for entry in status.get(part) or ():
            waiting = (entry.get("state") or {}).get("waiting") or {}
            reason = str(waiting.get("reason") or "")
            if reason and reason not in ("ContainerCreating", "PodInitializing"):
                return f"{reason}: {waiting.get('message') or 'no message'}"
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"{condition.get('reason')}: {condition.get('message') or ''}".rstrip(": ")
    return ""


def _time(text: object) -> datetime | None:
    return datetime.fromisoformat(str(text).replace("Z", "+00:00")) if text else None
