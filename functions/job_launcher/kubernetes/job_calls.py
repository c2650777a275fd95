"""Calls to Kubernetes: create a Job, delete it, and read how it ended.

Kubernetes answers                           the result
created, or it exists and is ours            Created
it exists and belongs to another owner       Rejected
400, 422                                     Rejected, with Kubernetes' message
403 for this Job (quota)                     Postponed
403 for this Job (admission)                 AdmissionDenied
403 (RBAC), 404 (namespace), 401             Postponed, affects all
429, 5xx, closed connection, no answer       retried twice, then Postponed, affects all
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import stamina

from functions.job_launcher.decide.job_request import JobRequest
from functions.job_launcher.decide.job_status import PodTermination, last_termination
from functions.job_launcher.kubernetes import egress, manifest
from functions.kit.clients import Cluster
from functions.kit.clients.kubernetes import Forbidden, NoRight, QuotaUsedUp
from functions.kit.errors import (
    Conflict,
    FunctionError,
    NotFound,
    PermanentError,
    TemporaryError,
    shortened,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

BATCH = "batch/v1"
MAX_RETRY_DELAY_S = 2.0
LOG_LINES = 20


@dataclass(frozen=True)
class Created:
    """The Job exists; `adopted` if it existed before the call."""

    job: dict[str, Any]
    adopted: bool


@dataclass(frozen=True)
class Rejected:
    """Kubernetes will never accept the Job."""

    message: str


@dataclass(frozen=True)
class Postponed:
    """The request stays in the queue for `delay_s`; `affects_all`: so does any other request.

    `may_exist`: an answer of Kubernetes was lost, and its Job may be there.
    """

    message: str
    delay_s: float
    affects_all: bool = True
    may_exist: bool = False


@dataclass(frozen=True)
class AdmissionDenied(Postponed):
    """An admission controller denies this Job; its policy may change."""

    affects_all: bool = False


LaunchResult = Created | Rejected | Postponed


async def create(cluster: Cluster, request: JobRequest, grant: str = "") -> LaunchResult:
    """Create the request's Job, its ConfigMap and the Secret with its `grant`, or find them
    created."""
    try:
        return await _create(cluster, request, grant)
    except (NotFound, NoRight) as error:
        return Postponed(error.detail, 60)
    except QuotaUsedUp as error:
        return Postponed(error.detail, 60, affects_all=False)
    except Forbidden as error:
        return AdmissionDenied(error.detail, 60)
    except TemporaryError as error:
        return Postponed(error.detail, max(error.delay_s, 5), may_exist=True)
    except PermanentError as error:
        return Rejected(error.detail)


async def _create(cluster: Cluster, request: JobRequest, grant: str) -> LaunchResult:
    wanted = manifest.job_of(request)
    adopted = False
    try:
        job = await _with_retries(lambda: cluster.create("jobs", wanted))
    except Conflict as error:
        adopted = True
        try:
            job = await _with_retries(lambda: cluster.get(BATCH, "jobs", request.job_id))
        except NotFound:
            return Postponed(error.detail, 5, affects_all=False)
        if not manifest.is_ours(request, job):
            return Rejected(f"a Job {request.job_id} exists that belongs to another request")
        if "deletionTimestamp" in job["metadata"]:
            return Postponed(
                f"an older Job {request.job_id} is being deleted", 5, affects_all=False
            )
    if grant:
        secret = manifest.grant_secret_of(request, job, grant)
        try:
            await _with_retries(lambda: cluster.create("secrets", secret))
        except Conflict:
            # No right to read it: a grant of this Job, made before a crash.
            logger.debug("job %s has its grant already", request.job_id)
    files = manifest.config_map_of(request, job)
    if files is not None:
        try:
            await _with_retries(lambda: cluster.create("configmaps", files))
        except Conflict as error:
            if not await _has_files(cluster, job):
                return Postponed(error.detail, 5, affects_all=False, may_exist=True)
        except (Forbidden, NotFound):
            raise
        except PermanentError:
            await stop(cluster, request.job_id)
            raise
    return Created(job, adopted)


async def _has_files(cluster: Cluster, job: dict[str, Any]) -> bool:
    """Does this Job's ConfigMap exist? 409 also means a conflict on a quota, or the ConfigMap of an
    earlier Job of this name."""
    name = str(job["metadata"]["name"])
    try:
        found = await _with_retries(lambda: cluster.get("v1", "configmaps", name))
    except NotFound:
        return False
    owners = found["metadata"].get("ownerReferences") or []
    return any(owner.get("uid") == job["metadata"]["uid"] for owner in owners)


async def stop(cluster: Cluster, job_id: str) -> None:
    """Delete a Job with its pods, if it exists."""
    try:
        await _with_retries(lambda: cluster.delete(BATCH, "jobs", job_id))
    except NotFound:
        logger.debug("job %s is gone already", job_id)


@dataclass(frozen=True)
class JobResult:
    """How a Job's last pod ended, its last lines, and what its network refused."""

    pod: PodTermination | None
    log: list[str]
    blocked: list[str] = field(default_factory=list)


async def job_result(cluster: Cluster, request: JobRequest) -> JobResult:
    """Read how a Job ended; leave out what Kubernetes cannot return."""
    job_id = request.job_id
    try:
        pods = await pods_of(cluster, job_id)
    except FunctionError as error:
        logger.warning("cannot read the pods of %s: %s", job_id, error)
        return JobResult(None, [])
    pod = last_termination(pods)
    if pod is None:
        return JobResult(None, [])
    try:
        text = await cluster.log(pod.pod, tail=LOG_LINES)
    except FunctionError as error:
        logger.warning("cannot read the log of %s: %s", pod.pod, error)
        text = pod.message
    # PostgreSQL's jsonb holds no NUL.
    lines = text.replace("\0", "").splitlines()[-LOG_LINES:]
    blocked = await egress.refused(cluster, pods) if request.proxy else []
    return JobResult(pod, [shortened(line, 500) for line in lines], blocked)


async def pods_of(cluster: Cluster, job_id: str) -> list[dict[str, Any]]:
    """Return the pods of a Job, oldest first."""
    pods = await cluster.list("v1", "pods", f"batch.kubernetes.io/job-name={job_id}")
    return sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp") or ""))


async def pod_creation_errors(cluster: Cluster) -> dict[str, str]:
    """Return the newest FailedCreate Event of each Job that has no pod, by the Job's name."""
    fields = "involvedObject.kind=Job,reason=FailedCreate"
    events = await cluster.list("v1", "events", fields=fields)
    events.sort(key=lambda event: str(event.get("lastTimestamp") or ""))
    return {
        str(event["involvedObject"]["name"]): shortened(f"FailedCreate: {event.get('message')}")
        for event in events
    }


async def _with_retries(call: Callable[[], Awaitable[T]]) -> T:
    """Call up to three times, while the delay between calls stays within `MAX_RETRY_DELAY_S`."""

    def delay_s(error: Exception) -> float | bool:
        short = isinstance(error, TemporaryError) and error.delay_s <= MAX_RETRY_DELAY_S
        return error.delay_s if isinstance(error, TemporaryError) and short else False

    # Without a timeout: the client ends a call at the event's deadline, with a long delay.
    async for attempt in stamina.retry_context(on=delay_s, attempts=3, timeout=None):
        with attempt:
            return await call()
    raise AssertionError("unreachable: stamina raises the last error")
