"""The launcher's decisions: what is due, what a Job's state means, why it ended. All pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from functions.events.job import JobKind

Object = Mapping[str, Any]
State = Literal["queued", "starting", "running", "succeeded", "failed", "cancelled"]

QUEUED = "queued"
ACTIVE = ("starting", "running")
ENDED = ("succeeded", "failed", "cancelled")
# A pod's reason where a local Kubernetes lacks the command: its Job is complete, and nothing ran.
RECORDED_ONLY = "RecordedOnly"


@dataclass(frozen=True)
class SecretKey:
    """A variable or file whose value is in a Secret of the jobs' namespace."""

    secret: str
    key: str
    optional: bool = False


@dataclass(frozen=True)
class JobRequest:
    """All that a Job is made of; times in seconds. `job_id` is the Job's name.

    `refusal` says why no Job can be made of it: it has failed as soon as it is on record.
    """

    job_id: str
    route: str
    kind: JobKind
    task_id: str
    service: str
    repository: str
    group: str
    group_limit: int | None
    supersede: str
    image: str
    command: list[str]
    args: list[str]
    env: dict[str, str]
    secrets: dict[str, SecretKey]
    files: dict[str, str]
    requests: dict[str, str]
    limits: dict[str, str]
    ttl_s: int
    deadline_s: int
    retries: int
    cause_id: str
    cause_source: str
    cause_type: str
    correlation_id: str = ""
    # Not in rows of before these were there.
    secret_files: dict[str, SecretKey] = field(default_factory=dict)
    traceparent: str = ""
    refusal: str = ""


@dataclass(frozen=True)
class Waiting:
    """A row of the queue; `reason` says what kept it there, `not_before` until when."""

    job_id: str
    group: str
    group_limit: int | None
    not_before: datetime | None = None
    reason: str = ""


@dataclass(frozen=True)
class Queue:
    """What may be made now, and why the others wait."""

    due: list[str] = field(default_factory=list)
    why: dict[str, str] = field(default_factory=dict)


def look_at_queue(
    queued: Sequence[Waiting],
    active: Mapping[str, int],
    limit: int,
    now: datetime,
    *,
    group_limit: int | None = None,
) -> Queue:
    """Which of the queue, oldest first, fit under the limits.

    `active` counts the active Jobs of each group; `group_limit` is for groups that name none. A
    full group does not hold up another; one that waits for a time holds up its own group only.

    >>> one, two = (Waiting(name, "repo", 1) for name in "ab")
    >>> look_at_queue([one, two], {}, 10, datetime(2026, 1, 1))
    Queue(due=['a'], why={'b': '1 of 1 jobs of group repo are active'})
    """
    found = Queue()
    counts = Counter(dict(active))
    total = sum(counts.values())
    held: dict[str, str] = {}
    for one in queued:
        most = one.group_limit if one.group_limit is not None else group_limit
        if one.group and one.group in held:
            found.why[one.job_id] = f"behind {held[one.group]} of group {one.group}"
        elif one.not_before is not None and one.not_before > now:
            found.why[one.job_id] = one.reason
            held[one.group] = one.job_id
        elif one.group and most is not None and counts[one.group] >= most:
            words = f"{counts[one.group]} of {most} jobs of group {one.group} are active"
            found.why[one.job_id] = words
        elif total >= limit:
            found.why[one.job_id] = f"{total} of {limit} jobs are active"
        else:
            found.due.append(one.job_id)
            counts[one.group] += 1
            total += 1
    return found


@dataclass(frozen=True)
class Progress:
    """How far a Job is, as Kubernetes has it."""

    state: State
    started_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str = ""
    message: str = ""


def progress(job: Object) -> Progress:
    """Read a Job's status. Failed pods do not make a failed Job while retries remain.

    >>> progress({"status": {"failed": 2, "active": 1}}).state
    'running'
    >>> progress({"status": {"active": 1, "ready": 0}}).state
    'starting'
    """
    status = job.get("status") or {}
    started = _time(status.get("startTime"))
    for condition in status.get("conditions") or ():
        if condition.get("status") != "True" or condition["type"] not in ("Complete", "Failed"):
            continue
        return Progress(
            "succeeded" if condition["type"] == "Complete" else "failed",
            started,
            _time(status.get("completionTime")) or _time(condition.get("lastTransitionTime")),
            str(condition.get("reason") or ""),
            str(condition.get("message") or ""),
        )
    ran = status.get("ready") or status.get("failed") or status.get("succeeded")
    return Progress("running" if ran else "starting", started)


@dataclass(frozen=True)
class PodEnd:
    """How the last pod of a Job ended."""

    pod: str
    reason: str | None = None
    exit_code: int | None = None
    message: str = ""


def last_pod(pods: Sequence[Object]) -> PodEnd | None:
    """The end of the pod that was started last, in its own words; None without pods."""
    if not pods:
        return None
    pod = max(pods, key=lambda p: str(p["metadata"].get("creationTimestamp") or ""))
    status = pod.get("status") or {}
    if status.get("reason") == RECORDED_ONLY:
        name = str(pod["metadata"]["name"])
        return PodEnd(name, RECORDED_ONLY, None, str(status.get("message") or ""))
    ends = [
        state["terminated"]
        for part in ("initContainerStatuses", "containerStatuses")
        for entry in status.get(part) or ()
        if "terminated" in (state := entry.get("state") or {})
    ]
    bad = next((end for end in ends if end.get("exitCode")), None) or (ends[-1] if ends else {})
    stuck = stuck_because(pod)
    return PodEnd(
        str(pod["metadata"]["name"]),
        bad.get("reason") or status.get("reason") or (stuck.partition(":")[0] if stuck else None),
        bad.get("exitCode"),
        str(bad.get("message") or status.get("message") or stuck),
    )


def stuck_because(pod: Object) -> str:
    """Why a pod does not run yet, in Kubernetes' words; empty where nothing is wrong.

    >>> waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x"'}
    >>> stuck_because({"status": {"containerStatuses": [{"state": {"waiting": waiting}}]}})
    'ImagePullBackOff: Back-off pulling image "x"'
    """
    status = pod.get("status") or {}
    for part in ("initContainerStatuses", "containerStatuses"):
        for entry in status.get(part) or ():
            waiting = (entry.get("state") or {}).get("waiting") or {}
            reason = str(waiting.get("reason") or "")
            if reason and reason not in ("ContainerCreating", "PodInitializing"):
                return f"{reason}: {waiting.get('message') or 'no more is said'}"
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"{condition.get('reason')}: {condition.get('message') or ''}".rstrip(": ")
    return ""


def task_status(states: Sequence[str]) -> str:
    """A task's status from its Jobs' states, newest first.

    A Job that was only recorded has done nothing of its task.

    >>> task_status(["queued", "failed"]), task_status(["succeeded"]), task_status(["recorded"])
    ('pending', 'completed', 'recorded')
    """
    if not states:
        return "pending"
    return {
        "queued": "pending",
        "starting": "in_progress",
        "running": "in_progress",
        "succeeded": "completed",
    }.get(states[0], states[0])


def _time(text: object) -> datetime | None:
    return datetime.fromisoformat(str(text).replace("Z", "+00:00")) if text else None
