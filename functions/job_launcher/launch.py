"""The edge to Kubernetes: make a Job, stop it, and read how it ended. Outcomes are data.

created, or there already and ours     Made
there, but somebody else's             Refused
400, 422                               Refused, in Kubernetes' words
403 of this Job (admission, quota)     Waits; what admission says no to is Denied
403 of any Job (RBAC), 404 (namespace), 401   Waits, with all others: somebody has to put it right
429, 5xx, closed connection            asked again twice, then Waits, with all others
no answer in the time of the event     Waits, with all others
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import stamina

from functions.job_launcher import manifest
from functions.job_launcher.decide import JobRequest, PodEnd, last_pod
from functions.kit.clients.kubernetes import Cluster, Forbidden, NoRight, QuotaUsedUp
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
MOST_PATIENCE_S = 2.0
LOG_LINES = 20


@dataclass(frozen=True)
class Made:
    """The Job exists, as `job` shows; `adopted` if it did before we asked."""

    job: dict[str, Any]
    adopted: bool


@dataclass(frozen=True)
class Refused:
    """There will be no Job."""

    message: str


@dataclass(frozen=True)
class Waits:
    """There may be a Job later; until then the request stays in the queue.

    `all_do`: any other Job would hear the same now.
    """

    message: str
    delay_s: float
    all_do: bool = True


@dataclass(frozen=True)
class Denied(Waits):
    """Admission says no to this Job; it may change its mind, if somebody changes its rules."""

    all_do: bool = False


Outcome = Made | Refused | Waits


async def make(cluster: Cluster, request: JobRequest) -> Outcome:
    """Make the request's Job and its ConfigMap, or find them made."""
    try:
        return await _make(cluster, request)
    except (NotFound, NoRight) as error:
        return Waits(error.detail, 60)
    except QuotaUsedUp as error:
        return Waits(error.detail, 60, all_do=False)
    except Forbidden as error:
        return Denied(error.detail, 60)
    except TemporaryError as error:
        return Waits(error.detail, max(error.delay_s, 5))
    except PermanentError as error:
        return Refused(error.detail)


async def _make(cluster: Cluster, request: JobRequest) -> Outcome:
    wanted = manifest.job_of(request)
    adopted = False
    try:
        job = await _patiently(lambda: cluster.create("jobs", wanted))
    except Conflict as error:
        adopted = True
        try:
            job = await _patiently(lambda: cluster.get(BATCH, "jobs", request.job_id))
        except NotFound:
            return Waits(error.detail, 5, all_do=False)
        if not manifest.is_ours(request, job):
            return Refused(f"a Job {request.job_id} exists that was not made for this request")
        if "deletionTimestamp" in job["metadata"]:
            return Waits(f"an older Job {request.job_id} is being deleted", 5, all_do=False)
    files = manifest.config_map_of(request, job)
    if files is not None:
        try:
            await _patiently(lambda: cluster.create("configmaps", files))
        except Conflict as error:
            if not await _has_files(cluster, job):
                return Waits(error.detail, 5, all_do=False)
        except (Forbidden, NotFound):
            raise
        except PermanentError:
            await stop(cluster, request.job_id)
            raise
    return Made(job, adopted)


async def _has_files(cluster: Cluster, job: dict[str, Any]) -> bool:
    """Is the ConfigMap there, and this very Job's? A busy quota is a 409 too, and so is the
    ConfigMap of a Job that was here before."""
    name = str(job["metadata"]["name"])
    try:
        found = await _patiently(lambda: cluster.get("v1", "configmaps", name))
    except NotFound:
        return False
    owners = found["metadata"].get("ownerReferences") or []
    return any(owner.get("uid") == job["metadata"]["uid"] for owner in owners)


async def stop(cluster: Cluster, job_id: str) -> None:
    """Delete a Job with its pods; it is well where there is none."""
    try:
        await _patiently(lambda: cluster.delete(BATCH, "jobs", job_id))
    except NotFound:
        logger.debug("job %s is gone already", job_id)


@dataclass(frozen=True)
class Ending:
    """How a Job's last pod ended, and its last lines."""

    pod: PodEnd | None
    log: list[str]


async def ending(cluster: Cluster, job_id: str) -> Ending:
    """Read how a Job ended; what cannot be read is left out, its end is true all the same."""
    try:
        pods = await pods_of(cluster, job_id)
    except FunctionError as error:
        logger.warning("cannot read the pods of %s: %s", job_id, error)
        return Ending(None, [])
    pod = last_pod(pods)
    if pod is None:
        return Ending(None, [])
    try:
        text = await cluster.log(pod.pod, tail=LOG_LINES)
    except FunctionError as error:
        logger.warning("cannot read the log of %s: %s", pod.pod, error)
        text = pod.message
    # PostgreSQL's jsonb holds no NUL.
    lines = text.replace("\0", "").splitlines()[-LOG_LINES:]
    return Ending(pod, [shortened(line, 500) for line in lines])


async def pods_of(cluster: Cluster, job_id: str) -> list[dict[str, Any]]:
    """The pods of a Job, oldest first."""
    pods = await cluster.list("v1", "pods", f"batch.kubernetes.io/job-name={job_id}")
    return sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp") or ""))


async def refused_pods(cluster: Cluster) -> dict[str, str]:
    """Why Jobs have no pod, by their names, in the words of Kubernetes' newest Event of each."""
    fields = "involvedObject.kind=Job,reason=FailedCreate"
    events = await cluster.list("v1", "events", fields=fields)
    events.sort(key=lambda event: str(event.get("lastTimestamp") or ""))
    return {
        str(event["involvedObject"]["name"]): shortened(f"FailedCreate: {event.get('message')}")
        for event in events
    }


async def _patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Ask up to three times, where Kubernetes does not ask for more patience than we have."""

    def pause_s(error: Exception) -> float | bool:
        short = isinstance(error, TemporaryError) and error.delay_s <= MOST_PATIENCE_S
        return error.delay_s if isinstance(error, TemporaryError) and short else False

    # No timeout here: a call beyond the time that is left for the event is a long patience.
    async for attempt in stamina.retry_context(on=pause_s, attempts=3, timeout=None):
        with attempt:
            return await work()
    raise AssertionError("unreachable: stamina raises the last error")
