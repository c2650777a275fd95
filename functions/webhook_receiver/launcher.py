"""Asking job-launcher, for a PM agent or a user, what it knows of tasks and Jobs."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from urllib.parse import urlencode

import httpx
from starlette.responses import JSONResponse, Response

from functions.events.webhook import JobCancelRequested, JobRetryRequested
from functions.kit.clients import ServiceClient, path
from functions.kit.errors import Conflict, NotFound, TemporaryError
from functions.webhook_receiver.decide import Question

logger = logging.getLogger(__name__)

NAME = "job-launcher"
ENDED = ("succeeded", "recorded", "failed", "cancelled")
# Cancelling does not need to know: the event is taken where job-launcher is slow or away.
LOOK_S = 5.0
# What a reader of a log needs to ask for what comes after.
_HANDED_ON = ("content-type", "x-job-state", "x-job-reason", "x-log-next", "x-log-more", "x-log")


async def ask(http: httpx.AsyncClient, url: str, question: Question) -> Response:
    """Its answer as ours; of a log the page as it is."""
    at = question.path + (f"?{urlencode(question.query)}" if question.query else "")
    if not question.is_log:
        return JSONResponse(await ServiceClient(NAME, url, http).get(at, object))
    try:
        answer = await http.get(f"{url.rstrip('/')}{at}", timeout=30.0)
    except httpx.HTTPError as error:
        raise TemporaryError(f"{NAME}: {type(error).__name__}") from error
    headers = {name: answer.headers[name] for name in _HANDED_ON if name in answer.headers}
    return Response(answer.content, answer.status_code, headers)


async def check_retry(http: httpx.AsyncClient, url: str, wanted: JobRetryRequested) -> None:
    """`NotFound` and `Conflict` where there is nothing to retry, as far as it can be known."""
    client = ServiceClient(NAME, url, http)
    try:
        async with asyncio.timeout(LOOK_S):
            task = await client.get(path("tasks", wanted.task_id or ""), dict[str, Any])
    except (TemporaryError, TimeoutError) as error:
        logger.warning("cannot look at what is retried: %s", error)
        return
    for job in task["jobs"]:
        if job.get("state") not in ENDED:
            raise Conflict(f"job {job['job_id']} has not ended: {job['state']}")


async def what_it_cancels(http: httpx.AsyncClient, url: str, wanted: JobCancelRequested) -> str:
    """What a cancellation will stop, in words; `NotFound` and `Conflict` for a Job it cannot."""
    client = ServiceClient(NAME, url, http)
    try:
        async with asyncio.timeout(LOOK_S):
            if wanted.job is not None:
                job = await client.get(path("jobs", wanted.job), dict[str, object])
                if job.get("state") in ENDED:
                    raise Conflict(f"job {wanted.job} has ended: {job['state']}")
                return "cancelling is asked for"
            at = path("tasks", wanted.task_id or "")
            jobs = (await client.get(at, dict[str, Any]))["jobs"]
    except NotFound:
        if wanted.job is not None:
            raise NotFound(f"no such job: {wanted.job}") from None
        return "nothing is known of this task; if it comes within ten minutes, it is cancelled"
    except (TemporaryError, TimeoutError) as error:
        logger.warning("cannot look at what is cancelled: %s", error)
        return "cancelling is asked for"
    if all(job.get("state") in ENDED for job in jobs):
        return "all jobs of this task have ended: there is nothing to cancel"
    return "cancelling is asked for"
