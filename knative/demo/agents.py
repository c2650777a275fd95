"""The stage of the agents: a signed sample issue becomes a Job, which runs to its end."""

from __future__ import annotations

import asyncio
import hmac
import time
from typing import Any
from uuid import uuid4

from knative.demo.github import REPOSITORY, as_text, is_asked
from knative.demo.stages import Demo, Failure
from knative.local.manifests.core import Secret

TIMEOUT_S = 60.0
_ENDED = ("succeeded", "failed", "cancelled")


def sample_issue(number: int) -> dict[str, Any]:
    """Return the used fields of GitHub's event for an issue that gets the label `agent`."""
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


async def agent(demo: Demo) -> None:
    """A GitHub issue labelled `agent`: a Kubernetes Job works on it."""
    number = int(time.time()) % 1_000_000
    issue = sample_issue(number)
    body = as_text(issue)
    headers = _headers(demo, body)
    demo.github.made(headers, issue, status=202)
    await demo.call("POST", "webhook-receiver", "/webhook/github", content=body, headers=headers)
    job = await _ended(demo, f"{REPOSITORY}#{number}")
    await demo.settled()
    for line in job["last_lines"]:
        demo.print_line(f"    {line}")
    if job["state"] != "succeeded":
        raise Failure(f"job {job['job_id']} {job['state']}: {job['reason']}")


async def lost(demo: Demo) -> None:
    """A second issue whose delivery was lost: it is found in GitHub's list, and made good."""
    if not is_asked(demo.runtime.world):
        demo.print_line("the receiver asks another GitHub: nothing is lost here")
        return
    number = int(time.time()) % 1_000_000 + 1
    issue = sample_issue(number)
    demo.github.made(_headers(demo, as_text(issue)), issue)
    compared = (await _hook(demo))["checked_at"]
    await demo.fire("webhook-relay", demo.always)
    hook = await _hook(demo)
    if hook["checked_at"] == compared:
        demo.print_line(f"compared a moment ago, and again at {hook['due_at'][11:16]} UTC")
        return
    await _ended(demo, f"{REPOSITORY}#{number}")
    await demo.settled()
    demo.print_line(f"webhook-receiver: {hook['message']}")


async def _hook(demo: Demo) -> dict[str, Any]:
    health = await demo.call("GET", "webhook-receiver", "/deliveries/health")
    found: dict[str, Any] = health["hooks"][0]
    return found


def _headers(demo: Demo, body: bytes) -> dict[str, str]:
    """Those of GitHub's delivery of an issue."""
    signature = hmac.digest(_secret(demo), body, "sha256").hex()
    return {
        "Content-Type": "application/json",
        "X-GitHub-Event": "issues",
        "X-GitHub-Delivery": str(uuid4()),
        "X-Hub-Signature-256": f"sha256={signature}",
    }


def _secret(demo: Demo) -> bytes:
    found = demo.runtime.world.get(Secret, "dsm", "webhook-secrets")
    values = found.files() if found else {}
    if "github" not in values:
        raise Failure("the overlay has no Secret webhook-secrets with a key github")
    return values["github"].split(b",")[0].strip()


async def _ended(demo: Demo, task: str) -> dict[str, Any]:
    """Return the task's Job once it has ended; a Failure with its state at the timeout."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        answer = await demo.call("GET", "job-launcher", "/jobs", params={"task": task})
        jobs: list[dict[str, Any]] = answer["jobs"]
        if jobs and jobs[0]["state"] in _ENDED:
            return jobs[0]
        if time.monotonic() > deadline:
            state = f"is {jobs[0]['state']}: {jobs[0]['reason']}" if jobs else "was not requested"
            raise Failure(f"the job of {task} {state}, after {TIMEOUT_S:.0f} s")
        await asyncio.sleep(0.2)
