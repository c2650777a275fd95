"""What a Job needs next: a pure decision over the Job and its pods.

The Job controller's rules (pkg/controller/job): a failed pod is replaced after 10 s, 20 s, 40 s ...
until more than `backoffLimit` have failed; `activeDeadlineSeconds` counts from startTime;
`ttlSecondsAfterFinished` from the end. Pods carry a finalizer until they are counted, so no end is
counted twice and none is missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from knative.local.kube.timestamps import seconds, stamp

Object = dict[str, Any]
TRACKING = "batch.kubernetes.io/job-tracking"
MAX_BACKOFF_S = 360.0  # Kubernetes caps the delay at six minutes


@dataclass(frozen=True)
class Plan:
    """What to do now. `count` pods lose the tracking finalizer, in the write of `status`."""

    status: dict[str, Any]
    count: tuple[Object, ...] = ()
    delete: tuple[Object, ...] = ()
    create: bool = False
    remove: bool = False
    wake_s: float | None = None


def plan(job: Object, pods: Sequence[Object], now: float, backoff_base_s: float = 10.0) -> Plan:
    """Decide from a Job, the pods it owns, and the Unix time."""
    if finished_at(job) is not None:
        return _after_the_end(job, pods, now)
    status = dict(job.get("status") or {})
    count = tuple(pod for pod in pods if _is_over(pod) and _is_tracked(pod))
    for phase, field in (("Succeeded", "succeeded"), ("Failed", "failed")):
        ended = sum(pod["status"]["phase"] == phase for pod in count)
        if ended:
            status[field] = status.get(field, 0) + ended
    running = [pod for pod in pods if not _is_over(pod)]
    active = [pod for pod in running if "deletionTimestamp" not in pod["metadata"]]
    _set_counts(status, running, active)
    if "deletionTimestamp" in job["metadata"]:
        return Plan(status, count)
    spec = job["spec"]
    if spec["suspend"] and "FailureTarget" not in _true(status):
        _suspend(status, now)
        # What a suspension ends is no failure: it is not counted when it has ended.
        return Plan(status, (*count, *active), delete=tuple(active))
    _begin(status, now)
    failure = _failure(spec, status, active, now)
    if failure is not None:
        return _fail(status, count, running, active, failure, now)
    if status.get("succeeded", 0) >= spec["completions"]:
        return _complete(status, count, running, active, now)
    deadline_s = _left(spec, status, now)
    waits_for_end = spec.get("podReplacementPolicy") == "Failed" and running
    if active or waits_for_end or spec["parallelism"] == 0:
        return Plan(status, count, wake_s=deadline_s)
    pause_s = _backoff(status, pods, now, backoff_base_s)
    if pause_s > 0:
        return Plan(status, count, wake_s=min(pause_s, deadline_s or pause_s))
    return Plan(status, count, create=True, wake_s=deadline_s)


def finished_at(job: Object) -> float | None:
    """The Unix time of a Job's end, None while it has not ended."""
    for condition in (job.get("status") or {}).get("conditions", ()):
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return seconds(condition["lastTransitionTime"])
    return None


def _after_the_end(job: Object, pods: Sequence[Object], now: float) -> Plan:
    status = dict(job["status"])
    count = tuple(pod for pod in pods if _is_over(pod) and _is_tracked(pod))
    running = tuple(pod for pod in pods if not _is_over(pod))
    ttl = job["spec"].get("ttlSecondsAfterFinished")
    ended = finished_at(job)
    if ttl is None or ended is None or "deletionTimestamp" in job["metadata"]:
        return Plan(status, count, delete=running)
    left = ended + ttl - now
    return Plan(status, count, running, remove=left <= 0, wake_s=left if left > 0 else None)


def _is_over(pod: Object) -> bool:
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def _is_tracked(pod: Object) -> bool:
    return TRACKING in (pod["metadata"].get("finalizers") or ())


def _set_counts(
    status: dict[str, Any], running: Sequence[Object], active: Sequence[Object]
) -> None:
    ready = sum(
        any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"]["conditions"])
        for pod in active
    )
    status.pop("active", None)
    if active:
        status["active"] = len(active)
    status["ready"] = ready
    status["terminating"] = len(running) - len(active)
    status["uncountedTerminatedPods"] = {}


def _begin(status: dict[str, Any], now: float) -> None:
    if "Suspended" in _true(status):
        _condition(status, "Suspended", now, "JobResumed", "Job resumed", value="False")
    status.setdefault("startTime", stamp(now))


def _suspend(status: dict[str, Any], now: float) -> None:
    status.pop("startTime", None)
    _condition(status, "Suspended", now, "JobSuspended", "Job suspended")


def _failure(
    spec: Object, status: Object, active: Sequence[Object], now: float
) -> tuple[str, str] | None:
    for condition in status.get("conditions", ()):
        if condition["type"] == "FailureTarget":
            return condition["reason"], condition["message"]
    limit = spec["backoffLimit"]
    restarts = sum(
        one["restartCount"] for pod in active for one in pod["status"].get("containerStatuses", ())
    )
    too_many_restarts = restarts > 0 if limit == 0 else restarts >= limit
    on_failure = spec["template"]["spec"]["restartPolicy"] == "OnFailure"
    if status.get("failed", 0) > limit or (on_failure and too_many_restarts):
        return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    left = _left(spec, status, now)
    if left is not None and left <= 0:
        return "DeadlineExceeded", "Job was active longer than specified deadline"
    return None


def _left(spec: Object, status: Object, now: float) -> float | None:
    deadline = spec.get("activeDeadlineSeconds")
    return None if deadline is None else float(seconds(status["startTime"]) + deadline - now)


def _fail(
    status: dict[str, Any],
    count: tuple[Object, ...],
    running: Sequence[Object],
    active: Sequence[Object],
    failure: tuple[str, str],
    now: float,
) -> Plan:
    _condition(status, "FailureTarget", now, *failure)
    if not running:
        _condition(status, "Failed", now, *failure)
    return Plan(status, count, delete=tuple(active))


def _complete(
    status: dict[str, Any],
    count: tuple[Object, ...],
    running: Sequence[Object],
    active: Sequence[Object],
    now: float,
) -> Plan:
    reached = ("CompletionsReached", "Reached expected number of succeeded pods")
    _condition(status, "SuccessCriteriaMet", now, *reached)
    if not running:
        _condition(status, "Complete", now, *reached)
        status["completionTime"] = stamp(now)
    return Plan(status, count, delete=tuple(active))


def _backoff(status: Object, pods: Sequence[Object], now: float, base_s: float) -> float:
    failures = status.get("failed", 0)
    ends = [
        seconds(one["state"]["terminated"]["finishedAt"])
        for pod in pods
        if pod["status"].get("phase") == "Failed"
        for one in pod["status"].get("containerStatuses", ())
        if "terminated" in one["state"]
    ]
    if not failures or not ends:
        return 0.0
    delay: float = min(base_s * 2.0 ** (failures - 1), MAX_BACKOFF_S)
    return max(ends) + delay - now


def _true(status: Object) -> set[str]:
    return {c["type"] for c in status.get("conditions", ()) if c["status"] == "True"}


def _condition(
    status: dict[str, Any], kind: str, now: float, reason: str, message: str, value: str = "True"
) -> None:
    held = list(status.get("conditions", ()))
    if any(c["type"] == kind and c["status"] == value for c in held):
        return
    at = stamp(now)
    fresh = {
        "type": kind,
        "status": value,
        "lastProbeTime": at,
        "lastTransitionTime": at,
        "reason": reason,
        "message": message,
    }
    status["conditions"] = [c for c in held if c["type"] != kind] + [fresh]
