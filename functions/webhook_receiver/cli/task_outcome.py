"""What came of a task, as the command line says it: only what was delivered is a success."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Task = Mapping[str, Any]

ENDED = ("succeeded", "recorded", "failed", "cancelled")


def is_over(task: Task) -> bool:
    """Have its Jobs ended, and is it known what came of them?"""
    ended = all(job["state"] in ENDED for job in task["jobs"])
    return ended and task.get("outcome") != "pending"


def progress(task: Task) -> str:
    """Return where it stands, in one line.

    >>> progress({"status": "in_progress", "outcome": "pending", "jobs": [{"state": "succeeded"}]})
    'its agent has ended, its outputs are being applied'
    >>> progress({"status": "pending", "jobs": [{"state": "queued", "reason": "10 of 10 jobs"}]})
    'queued: 10 of 10 jobs'
    """
    if task.get("outcome") == "pending":
        return "its agent has ended, its outputs are being applied"
    job = task["jobs"][0]
    return f"{job['state']}: {job['reason']}" if job.get("reason") else str(job["state"])


def is_success(task: Task) -> bool:
    """Is there something to show, or the agent's reason why nothing should be done?"""
    return str(task["status"]) == "completed"


def end(task: Task) -> list[str]:
    """Return what came of it, its first line in short.

    >>> end({"status": "undelivered", "outcome": "undelivered", "jobs": [{"reason": ""}],
    ...     "result": {"reason": "no_commits", "details": ["none"], "kept": True}})
    ['undelivered: no_commits', '  none', '  what it has done is kept']
    >>> end({"status": "ended", "outcome": "completed", "jobs": [{"reason": ""}]})
    ['ended with exit code 0 and nothing to show: its route takes no outputs']
    """
    result = task.get("result") or {}
    if task.get("outcome") == "delivered":
        return ["delivered", *_indented(_delivered(result))]
    if result.get("reason") == "nothing_to_do":
        return ["done: there was nothing to do", *_indented(result.get("details") or [])]
    if task["status"] == "ended":
        return ["ended with exit code 0 and nothing to show: its route takes no outputs"]
    reason = task["jobs"][0].get("reason") if task["jobs"] else ""
    if not result:
        names = {"recorded": "recorded only, nothing was done"}
        name = names.get(str(task["status"]), str(task["status"]))
        return [f"{name}: {reason}" if reason else name]
    kept = ["what it has done is kept"] if result.get("kept") else []
    job = [f"its Job {task['status']}: {reason}"] if task["status"] != "undelivered" else []
    details = [*(result.get("details") or []), *job, *kept]
    return [f"undelivered: {result['reason']}", *_indented(details)]


def _delivered(result: Mapping[str, Any]) -> Iterable[str]:
    if result.get("url"):
        files = ", ".join(result.get("files") or [])
        yield f"draft pull request {result['url']}: {result.get('commits')} commit(s) to {files}"
    if result.get("commented"):
        yield "it has commented"
    if result.get("labels"):
        yield f"labels {', '.join(result['labels'])}"
    if result.get("summary"):
        yield str(result["summary"])
    yield from str(result.get("report") or "").splitlines()


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]
