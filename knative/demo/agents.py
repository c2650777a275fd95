"""The stage of the agents: an issue that is labelled on GitHub becomes a draft pull request."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from typing import Any
from uuid import uuid4

import httpx

from knative.demo.github import REPOSITORY, is_asked
from knative.demo.stages import Demo, Failure

FILES = {"README.md": "# Shop\n", "src/basket.py": "def reloaded(items):\n    return items[:-1]\n"}
TIMEOUT_S = 60.0
_ENDED = ("succeeded", "recorded", "failed", "cancelled")


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
        "sender": {"login": "octocat", "type": "User"},
    }


async def agent(demo: Demo) -> None:
    """A GitHub issue labelled `agent`: an agent works on it, and a draft pull request is opened."""
    if not demo.github:
        await _without_github(demo)
        return
    async with demo.client_of(demo.github) as github:
        number = await _labelled(demo, github, "arrives", int(time.time()) % 100 + 1)
        demo.print_line(f"issue {REPOSITORY}#{number} gets the label agent")
        job = await _ended(demo, f"{REPOSITORY}#{number}")
        outcome = await _outcome(github, number)
    if not outcome["pulls"]:
        why = job["reason"] or job["last_lines"]
        raise Failure(f"job {job['job_id']} {job['state']}, no pull request: {why}")
    demo.print_line(await _who_worked(demo, job["job_id"]))
    for pull in outcome["pulls"]:
        draft = "draft pull request" if pull["draft"] else "pull request"
        demo.print_line(f"{draft} #{pull['number']}: {pull['title']} ({pull['branch']})")
        for line in pull["diff"].splitlines():
            demo.print_line(f"    {line}")
    for comment in outcome["comments"]:
        demo.print_line(f"comment: {comment.splitlines()[0]}")


async def _labelled(demo: Demo, github: httpx.AsyncClient, fate: str, number: int = 0) -> int:
    """An issue is opened and gets the label, of which a webhook tells, or is lost; its number."""
    issue = {
        "secret": _secret(demo).decode(),
        "proxy": demo.runtime.proxy_url,
        "url": "http://webhook-receiver.dsm.svc.cluster.local",
        "repository": REPOSITORY,
        "files": FILES,
        "number": number,
        "title": "The basket forgets its last item",
        "body": "In `src/basket.py`, replace `items[:-1]` by `items`.",
        "label": "agent",
        "fate": fate,
    }
    opened = (await github.post("/_world/issue", json=issue)).json()
    return int(opened["number"])


async def _outcome(github: httpx.AsyncClient, number: int) -> dict[str, Any]:
    """What GitHub has once the comment names the pull request; as it is at the timeout."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        query = {"repository": REPOSITORY, "number": str(number)}
        found: dict[str, Any] = (await github.get("/_world/outcome", params=query)).json()
        is_shown = any("pull request #" in comment for comment in found["comments"])
        if (found["pulls"] and is_shown) or time.monotonic() > deadline:
            return found
        await asyncio.sleep(0.2)


async def _who_worked(demo: Demo, job_id: str) -> str:
    """The first line of the agent's log: a model, or the sample without one."""
    url = f"http://job-launcher.dsm.svc.cluster.local/jobs/{job_id}/logs"
    return (await demo.http.get(url)).text.partition("\n")[0]


async def _without_github(demo: Demo) -> None:
    """The same as far as the Job: there is no repository that it could work on."""
    number = int(time.time()) % 1_000_000
    issue = sample_issue(number)
    body = json.dumps(issue).encode()
    headers = _headers(demo, body)
    await demo.call("POST", "webhook-receiver", "/webhook/github", content=body, headers=headers)
    job = await _ended(demo, f"{REPOSITORY}#{number}")
    await demo.settled()
    demo.print_line(f"job {job['job_id']} {job['state']}: GitHub's stand-in is in a checkout only")


async def lost(demo: Demo) -> None:
    """A second issue whose delivery was lost: it is found in GitHub's list, and made good."""
    if not (demo.github and is_asked(demo.runtime.world)):
        demo.print_line("nothing is lost here: the receiver does not ask the stand-in of GitHub")
        return
    async with demo.client_of(demo.github) as github:
        number = await _labelled(demo, github, "lost")
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
    return demo.secret("webhook-secrets", "github").split(",")[0].strip().encode()


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
