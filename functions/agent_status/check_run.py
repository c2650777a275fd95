"""What a check run shows of a pull request's newest Job, and its buttons. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from functions.agent_status import comment, decide
from functions.agent_status.decide import Shown

# Of GitHub's limit of 65,535.
MAX_SUMMARY = 60_000
# A label has at most 20 characters, a description 40; there are at most three buttons.
_BUTTONS = {
    "stop": ("Stop", "Stop the agent"),
    "retry": ("Retry", "Let the agent try once more"),
    "approve": ("Approve", "Let what waits happen"),
    "reject": ("Reject", "Let what waits never happen"),
}
_UNDELIVERED = {"nothing_to_do": "neutral", "not_approved": "cancelled"}


def newest_job(jobs: Mapping[str, Mapping[str, Any]]) -> tuple[str, Shown] | None:
    """Return the newest Job of a pull request; None of an issue."""
    if not jobs:
        return None
    job_id = max(jobs, key=lambda one: int(jobs[one]["number"]))
    job = Shown(**jobs[job_id])
    return (job_id, job) if job.pull_request else None


def body(route: str, job_id: str, job: Shown) -> dict[str, Any]:
    """Return the check run as GitHub takes it."""
    awaits, conclusion = decide.awaited_by(job), conclusion_of(job)
    if awaits is not None:
        # What was not seen is not approved: the button of a start is none of the outputs.
        names = [f"approve-{awaits}", f"reject-{awaits}"]
    else:
        names = ["stop"] if conclusion is None else ["retry"]
    # What is used so far is no reason for a request of its own.
    shown = vars(job) if conclusion else {**vars(job), "usage": {}}
    text = comment.text(route, {job_id: shown}).rpartition("\n")[0]
    found: dict[str, Any] = {
        "name": f"agent: {route}",
        "external_id": job_id,
        "status": "queued" if job.state == "queued" else "in_progress",
        "output": {"title": comment.headline(job)[:200], "summary": text[:MAX_SUMMARY]},
        "actions": [_button(name) for name in names],
    }
    if conclusion is not None:
        found |= {"status": "completed", "conclusion": conclusion}
    if job.started_at:
        found["started_at"] = f"{job.started_at[:10]}T{job.started_at[11:19]}Z"
    return found


def conclusion_of(job: Shown) -> str | None:
    """Return GitHub's conclusion; None as long as there is none.

    >>> conclusion_of(Shown(1, "running")), conclusion_of(Shown(1, "cancelled"))
    (None, 'cancelled')
    >>> conclusion_of(Shown(1, "succeeded", agent={"delivered": True}))
    'success'
    """
    if decide.awaited_by(job) is not None:
        return "action_required"
    if job.agent:
        if job.agent.get("delivered"):
            return "success"
        return _UNDELIVERED.get(str(job.agent["reason"]), "failure")
    if job.state == "failed":
        return "timed_out" if job.reason.startswith("DeadlineExceeded") else "failure"
    if job.state == "cancelled":
        return "cancelled"
    if job.state != "recorded" and (job.state != "succeeded" or job.gives_outputs):
        return None  # what came of it follows
    return "neutral"


def _button(name: str) -> dict[str, str]:
    label, description = _BUTTONS[name.partition("-")[0]]
    return {"label": label, "description": description, "identifier": name}
