"""The launcher's decisions: which requests are due, a Job's state, and why it ended. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from functions.events.approval import Stage
from functions.events.job import JobKind
from functions.job_launcher.budget import GroupBudget, Unit

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
# Reasons of a pod that a node ended; other disruptions are in its conditions.
_DISRUPTED = ("Evicted", "NodeLost", "NodeShutdown", "Terminated", "UnexpectedAdmissionError")


@dataclass(frozen=True)
class SecretKey:
    """A variable or file whose value is in a Secret of the jobs' namespace."""

    secret: str
    key: str
    optional: bool = False


@dataclass(frozen=True)
class Workspace:
    """The repository that an agent gets, owner/name: from `ref`, on a branch of its own.

    Without a repository it has an empty folder. `ref` is empty for the default branch; `submodules`
    are those that anyone may read, `lfs` the files that it has in Git LFS; `setup` is a command of
    the agent's image; `image` has the programs that prepare the workspace and collect what comes of
    it, for `outputs_url`, and keep it every `checkpoint_s` seconds.
    """

    repository: str
    branch: str
    image: str
    outputs_url: str
    ref: str = ""
    setup: list[str] = field(default_factory=list)
    checkpoint_s: int = 60
    submodules: bool = False
    lfs: bool = False


@dataclass(frozen=True)
class Approval:
    """What a Job may not do before a user approves it, `start` or `outputs`, and for how long it
    waits for that."""

    before: list[str]
    timeout_s: int


@dataclass(frozen=True)
class JobRequest:
    """The parameters of a Job; times in seconds. `job_id` is the Job's name.

    `refusal` is why no Job can be made of the request: it is stored as failed.
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
    # Older rows lack these.
    secret_files: dict[str, SecretKey] = field(default_factory=dict)
    traceparent: str = ""
    refusal: str = ""
    # The number of the issue or pull request, of `github`, owner/name.
    github: str = ""
    issue: int | None = None
    pull_request: bool = False
    workspace: Workspace | None = None
    # What of the agent's outputs is applied, as in `job_grant.OutputRules`.
    outputs: dict[str, Any] = field(default_factory=dict)
    # It goes on from what an earlier Job of its task has left.
    resume: bool = False
    # As in `pod_options.PodOptions`.
    pod: dict[str, Any] = field(default_factory=dict)
    # No second Job of its task while one is open.
    unless_open: bool = False
    # The proxy's URL, where the pod has a list of host names, `pod["egress"]`.
    proxy: str = ""
    approval: Approval | None = None
    # Its model's key, for a container beside the agent's; `model_url` is the API's.
    model: SecretKey | None = None
    model_url: str = ""

    def needs_approval(self, stage: Stage) -> bool:
        """Does it wait for a user before this?"""
        return self.approval is not None and stage in self.approval.before


@dataclass(frozen=True)
class QueuedRequest:
    """A row of the queue; `reason` is why it waits until `not_before`."""

    job_id: str
    group: str
    group_limit: int | None
    not_before: datetime | None = None
    reason: str = ""


@dataclass(frozen=True)
class QueueDecision:
    """The names of the Jobs that are due, why each of the others waits, and what those that are due
    may use of their group's budget."""

    due: list[str] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    grants: dict[str, Mapping[Unit, float]] = field(default_factory=dict)


def decide_queue(
    queued: Sequence[QueuedRequest],
    active: Mapping[str, int],
    limit: int,
    now: datetime,
    *,
    group_limit: int | None = None,
    budgets: Mapping[str, GroupBudget] | None = None,
) -> QueueDecision:
    """Return which queued requests, oldest first, the limits allow.

    `active` counts the active Jobs of each group; `group_limit` holds for requests without a limit
    of their own; `budgets` are those of groups. A request that waits for a time blocks its own
    group only.

    >>> first, second = (QueuedRequest(name, "repo", 1) for name in "ab")
    >>> decide_queue([first, second], {}, 10, datetime(2026, 1, 1))
    QueueDecision(due=['a'], reasons={'b': '1 of 1 jobs of group repo are active'}, grants={})
    """
    left = dict(budgets or {})
    decision = QueueDecision()
    counts = Counter(dict(active))
    total = sum(counts.values())
    blocked_by: dict[str, str] = {}
    for request in queued:
        name, group = request.job_id, request.group
        max_of_group = request.group_limit if request.group_limit is not None else group_limit
        if group in left and left[group].is_used_up():
            decision.reasons[name] = left[group].reason()
        elif group and group in blocked_by:
            decision.reasons[name] = f"behind {blocked_by[group]} of group {group}"
        elif request.not_before is not None and request.not_before > now:
            decision.reasons[name] = request.reason
            blocked_by[group] = name
        elif group and max_of_group is not None and counts[group] >= max_of_group:
            active_of_group = f"{counts[group]} of {max_of_group}"
            decision.reasons[name] = f"{active_of_group} jobs of group {group} are active"
        elif total >= limit:
            decision.reasons[name] = f"{total} of {limit} jobs are active"
        elif group in left and (reason := left[group].reason()):
            decision.reasons[name] = reason
        else:
            decision.due.append(name)
            if group in left:
                places = limit - total
                if max_of_group is not None:
                    places = min(places, max_of_group - counts[group])
                granted = left[group].grant(places)
                decision.grants[name] = granted
                left[group] = left[group].reserving(granted)
            counts[group] += 1
            total += 1
    return decision


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
    """Does the agent of a pod that is being deleted run on, `grace_s` seconds after its SIGTERM?"""
    metadata, status = pod["metadata"], pod.get("status") or {}
    deadline = _time(metadata.get("deletionTimestamp"))
    given_s = int(metadata.get("deletionGracePeriodSeconds") or 0)
    if deadline is None or given_s <= grace_s:
        return False
    runs = any(
        entry.get("name") == "agent" and "running" in (entry.get("state") or {})
        for entry in status.get("containerStatuses") or ()
    )
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
