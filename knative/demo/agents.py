"""The stage of the agents: a signed sample issue becomes a Job that is followed to its end."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from typing import Any
from uuid import uuid4

from knative.demo.stages import Failure, Morning
from knative.local.manifests.core import Secret

REPOSITORY = "acme/shop"
WITHIN_S = 60.0
_ENDED = ("succeeded", "failed", "cancelled")


def sample_issue(number: int) -> dict[str, Any]:
    """What GitHub sends when an issue gets the label `agent`, as far as it matters."""
    url = f"https://github.com/{REPOSITORY}"
    return {
        "action": "labeled",
        "label": {"name": "agent"},
        "issue": {
            "number": number,
            "title": "The basket forgets its last item",
            "body": "Add two items and reload the page.",
            "state": "open",
            "html_url": f"{url}/issues/{number}",
            "labels": [{"name": "agent"}],
        },
        "repository": {
            "full_name": REPOSITORY,
            "html_url": url,
            "url": f"https://api.github.com/repos/{REPOSITORY}",
        },
        "sender": {"login": "octocat"},
    }


async def agent(morning: Morning) -> None:
    """A GitHub issue labelled `agent`: a Kubernetes Job works on it."""
    number = int(time.time()) % 1_000_000
    body = json.dumps(sample_issue(number)).encode()
    signature = hmac.digest(_secret(morning), body, "sha256").hex()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "issues",
        "X-GitHub-Delivery": str(uuid4()),
        "X-Hub-Signature-256": f"sha256={signature}",
    }
    await morning.call("POST", "webhook-receiver", "/webhook/github", content=body, headers=headers)
    job = await _ended(morning, f"{REPOSITORY}#{number}")
    await morning.settled()
    for line in job["last_lines"]:
        morning.tell(f"    {line}")
    if job["state"] != "succeeded":
        raise Failure(f"job {job['job_id']} {job['state']}: {job['reason']}")


def _secret(morning: Morning) -> bytes:
    found = morning.runtime.world.get(Secret, "dsm", "webhook-secrets")
    values = found.files() if found else {}
    if "github" not in values:
        raise Failure("the overlay has no Secret webhook-secrets with a key github")
    return values["github"].split(b",")[0].strip()


async def _ended(morning: Morning, task: str) -> dict[str, Any]:
    """The task's Job once it has ended; a Failure that says how far it is if it does not."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        answer = await morning.call("GET", "job-launcher", "/jobs", params={"task": task})
        jobs: list[dict[str, Any]] = answer["jobs"]
        if jobs and jobs[0]["state"] in _ENDED:
            return jobs[0]
        if time.monotonic() > deadline:
            how_far = f"is {jobs[0]['state']}: {jobs[0]['reason']}" if jobs else "was never asked"
            raise Failure(f"the job of {task} {how_far}, after {WITHIN_S:.0f} s")
        await asyncio.sleep(0.2)
