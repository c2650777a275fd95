"""What is shown of Jobs on an issue: facts in whatever order, one text. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from functions.agent_status import approvals
from functions.agent_status.markdown import line, time
from functions.events.agent import (
    AgentAnswered,
    AgentDelivered,
    AgentFact,
    AgentRefused,
    AgentUndelivered,
    AgentUsage,
)
from functions.events.approval import ApprovalDecided, ApprovalFact, ApprovalRequested, Stage
from functions.events.job import (
    BudgetWarned,
    JobCancelled,
    JobFact,
    JobFailed,
    JobHeld,
    JobQueued,
    JobStarted,
    JobSucceeded,
)

MAX_JOBS = 5  # of one comment, the newest
MAX_REPLIES = 3  # to users who asked for something, the newest
SHOWS_AGAIN = ("/agent status", "/agent why")
MAX_FILES = 20
# What these reasons leave open, the Job's own end may say.
_SILENT = ("lost", "no_outputs", "not_prepared")
# A state is never replaced by one that comes before it, as events may overtake one another.
_RANK = {"queued": 0, "running": 1, "cancelled": 2, "failed": 2, "succeeded": 2}
_REASONS = {
    "lost": "The agent's pod was lost before it had handed over its work.",
    "nothing_to_do": "There was nothing to do.",
    "not_prepared": "The repository could not be cloned, so no agent has started.",
    "no_outputs": "The agent ended without saying what it has done.",
    "invalid_outputs": "The agent's outputs file does not fit its schema.",
    "no_commits": "The agent asked for a pull request and has committed nothing.",
    "not_approved": "What the agent has made was not approved, so nothing was applied.",
    "refused": "What the agent has made breaks the rules of its route, so nothing was applied.",
    "branch_moved": "Its branch has new commits, which were not overwritten.",
    "github_refused": "GitHub does not accept it.",
    "not_applied": "GitHub was away for too long.",
}
_NEXT = {
    "nothing_to_do": "Close the issue, or describe what is missing and set the label again.",
    "branch_moved": "Set the label again: the agent begins from the branch as it is now.",
    "github_refused": "Look at the App's permissions in this repository, then set the label again.",
}
# A pod's reason: what happened to it, and what to do.
_LOST = {
    "Evicted": (
        "its node ran short of memory or disk",
        "Lower what it writes, or raise its limits.",
    ),
    "EvictionByEvictionAPI": ("its node was drained", ""),
    "DeletionByTaintManager": ("its node is gone or ill", ""),
    "DeletionByPodGC": ("its node is gone", ""),
    "NodeLost": ("its node is gone", ""),
    "NodeShutdown": ("its node shut down", ""),
    "Terminated": ("its node shut down", ""),
    "TerminationByKubelet": ("its node ended it", ""),
    "PreemptionByScheduler": ("a pod of a higher priority took its place", ""),
    "OOMKilled": ("it needed more memory than it may have", "Raise the route's memory limit."),
}
_CONTAINERS = {
    "workspace": "The repository could not be cloned, so no agent has started.",
    "setup": "The route's setup command failed, so no agent has started.",
}
_SETUP = "Correct the route's `setup`, or what it needs in the repository; then `/agent retry`."
_GOES_ON = "`/agent retry` goes on from what was kept of its work."
_LABEL_AGAIN = "Comment `/agent retry`, or set the label again, to let it try once more."


@dataclass(frozen=True)
class Shown:
    """One Job as it is shown; times in ISO 8601."""

    number: int
    state: str = "queued"
    started_at: str = ""
    ended_at: str = ""
    reason: str = ""
    outcome: str = ""
    pod_reason: str = ""
    container: str = ""
    agent: Mapping[str, Any] = field(default_factory=dict)
    # By stage, what is asked and what was decided, in whatever order they came.
    approvals: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    blocked: Sequence[str] = ()
    # Why it waits, and how much of its group's budget is used.
    held: str = ""
    budget: str = ""
    pull_request: bool = False
    gives_outputs: bool = False


def merged(
    jobs: Mapping[str, Mapping[str, Any]], fact: JobFact | AgentFact | ApprovalFact
) -> dict[str, Any]:
    """Return the Jobs of a thread with one more fact, the newest `MAX_JOBS` of them.

    >>> from functions.events.job import JobQueued
    >>> fact = JobQueued(job_id="j", kind="execute", task_id="t", service="s", group="", route="r",
    ...     cause_id="1", cause_source="/s", cause_type="t")
    >>> merged({}, fact)["j"]["state"]
    'queued'
    """
    last = max((int(job["number"]) for job in jobs.values()), default=0)
    held = Shown(**jobs[fact.job_id]) if fact.job_id in jobs else Shown(last + 1)
    changed = {**asdict(held), **_change(held, fact)}
    if isinstance(fact, JobFact):
        changed["gives_outputs"] = fact.gives_outputs
    if isinstance(fact, JobQueued):
        changed["pull_request"] = fact.pull_request
    found = {**jobs, fact.job_id: changed}
    newest = sorted(found, key=lambda job_id: int(found[job_id]["number"]))[-MAX_JOBS:]
    return {job_id: dict(found[job_id]) for job_id in newest}


def replied(
    replies: Sequence[Mapping[str, Any]], fact: AgentRefused | AgentAnswered
) -> Sequence[Mapping[str, Any]]:
    """Return the replies of a thread with one more, oldest first, the newest `MAX_REPLIES`."""
    if isinstance(fact, AgentRefused):
        at, reply, content = fact.refused_at, f"not started: {fact.reason}", "confused"
    else:
        at, reply, content = fact.answered_at, fact.answer, "+1"
    one = {
        "at": at.isoformat(),
        "login": fact.login,
        "asked": fact.asked,
        "reply": reply,
        "content": content,
        "comment": fact.comment,
        "reacted": False,
    }
    known = {held["at"] for held in replies}
    found = [*replies, *([] if one["at"] in known else [one])]
    return sorted(found, key=lambda held: str(held["at"]))[-MAX_REPLIES:]


def is_asked_for(replies: Sequence[Mapping[str, Any]]) -> bool:
    """Does a user wait for the comment, though one may have deleted it?"""
    return any(one["asked"] in SHOWS_AGAIN and not one["reacted"] for one in replies)


def _change(held: Shown, fact: JobFact | AgentFact | ApprovalFact) -> dict[str, Any]:
    match fact:
        case ApprovalRequested() | ApprovalDecided():
            data = fact.model_dump(mode="json", exclude=set(ApprovalFact.model_fields))
            known = held.approvals.get(fact.before) or {}
            return {"approvals": {**held.approvals, fact.before: {**known, **data}}}
        case AgentDelivered() | AgentUndelivered():
            excluded = {"correlation_id", "traceparent", "job_id", "task_id", "route"}
            data = fact.model_dump(mode="json", exclude=excluded)
            return {"agent": {**data, "delivered": isinstance(fact, AgentDelivered)}}
        case JobHeld():
            return {"held": fact.reason[:500]}
        case BudgetWarned():
            return {"budget": _used_up(fact)}
        case JobStarted():
            change: dict[str, Any] = {"state": "running", "started_at": time(fact.started_at)}
        case JobSucceeded():
            times = {"started_at": time(fact.started_at), "ended_at": time(fact.ended_at)}
            change = {"state": "succeeded", "outcome": fact.outcome, **times}
            change["blocked"] = fact.blocked
        case JobFailed():
            text = f"{fact.reason}: {fact.message}" if fact.message else fact.reason
            change = {"state": "failed", "ended_at": time(fact.ended_at), "reason": text[:500]}
            change |= {"pod_reason": fact.pod_reason or "", "container": fact.container}
            change["blocked"] = fact.blocked
        case JobCancelled():
            change = {"state": "cancelled", "ended_at": time(fact.ended_at)}
            change["reason"] = fact.reason[:500]
        case _:
            change = {"state": "queued"}
    if _RANK[change["state"]] < _RANK[held.state]:
        return {name: value for name, value in change.items() if name == "started_at"}
    return change


def marker(route: str) -> str:
    """Return what tells our comment for a route from all others; no reader sees it."""
    return f"<!-- dsm status {route} -->"


def text(
    route: str,
    jobs: Mapping[str, Mapping[str, Any]],
    replies: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Return the comment: the newest Job in full, the others and replies in a line each."""
    lines, others = ["**No agent works on this.**"], []
    if jobs:
        job_id, *others = sorted(jobs, key=lambda job_id: -int(jobs[job_id]["number"]))
        lines = [*_full(job_id, Shown(**jobs[job_id]))]
    if replies:
        lines += ["", "Asked for:", ""]
        lines += [
            f"- {line(one['asked'])} by {line(one['login'])}: {line(one['reply'])}"
            for one in replies
        ]
    if others:
        lines += ["", "Before:", ""]
        lines += [f"- `{one}`: {headline(Shown(**jobs[one]))}" for one in others]
    return "\n".join([*lines, "", f"<sub>Route `{route}`</sub>", marker(route)])


def _full(job_id: str, job: Shown) -> list[str]:
    lines = [f"**{headline(job)}**"]
    agent = job.agent
    reported = agent or job.approvals.get("outputs") or {}
    lines += approvals.lines(job.approvals, awaited_by(job))
    if summary := line(reported.get("summary", "")):
        lines += ["", summary]
    if details := agent.get("details"):
        lines += ["", *(f"- {line(detail)}" for detail in details)]
    if job.held and job.state == "queued":
        lines += ["", f"> {line(job.held)}"]
    if job.budget:
        lines += ["", line(job.budget)]
    if job.reason and job.state in ("failed", "cancelled"):
        lines += ["", f"> {line(job.reason)}"]
    if files := agent.get("files"):
        names = ", ".join(f"`{line(name)}`" for name in files[:MAX_FILES])
        more = f" and {len(files) - MAX_FILES} more" if len(files) > MAX_FILES else ""
        lines += ["", f"{agent['commits']} commit(s) to {names}{more}."]
    if job.blocked:
        names = ", ".join(f"`{line(name)}`" for name in job.blocked)
        lines += ["", f"Its network refused {names}."]
    if advice := _advice(job):
        lines += ["", advice]
    rows = [
        ("Job", f"`{job_id}`"),
        ("Started", job.started_at),
        ("Ended", job.ended_at),
        ("Used", used(AgentUsage(**reported.get("usage", {})))),
    ]
    table = [f"| {name} | {value} |" for name, value in rows if value]
    return [*lines, "", "| | |", "|---|---|", *table]


def _used_up(fact: BudgetWarned) -> str:
    percent = int(100 * fact.used / fact.limit)
    until = time(fact.day_ends_at)
    return f"{percent} % of the budget of group {fact.group} ({fact.unit}) are used, until {until}."


def awaited_by(job: Shown) -> Stage | None:
    """Return the approval that a Job waits for."""
    ended = {"start": job.state != "queued", "outputs": bool(job.agent)}
    return approvals.awaited(job.approvals, ended)


def headline(job: Shown) -> str:
    """Return in one sentence what a Job does, or what came of it."""
    agent = job.agent
    if stage := awaited_by(job):
        return approvals.HEADLINES[stage]
    if agent.get("delivered"):
        if number := agent.get("pull_request"):
            return f"Draft pull request #{number} is ready for review."
        return "Done: the agent has answered here."
    if agent and agent["reason"] not in _SILENT:
        return _REASONS[agent["reason"]]
    if job.state == "failed" and job.container in _CONTAINERS:
        return _CONTAINERS[job.container]
    if job.state == "failed" and job.pod_reason in _LOST:
        return f"The agent was stopped: {_LOST[job.pod_reason][0]}."
    if agent:
        return _REASONS[agent["reason"]]
    if job.state == "succeeded" and job.outcome == "recorded":
        return "Recorded only: this machine cannot run the agent, so nothing was done."
    return {
        "queued": "An agent is queued for this.",
        "running": "An agent is working on this.",
        "succeeded": "The agent has ended.",
        "failed": "The agent failed.",
        "cancelled": "The agent was stopped.",
    }[job.state]


def _advice(job: Shown) -> str:
    if job.agent.get("delivered") or awaited_by(job):
        return ""
    kept = " What it has committed is kept." if job.agent.get("kept") else ""
    if job.state == "failed" and job.container == "setup":
        return _SETUP
    if job.state == "failed" and job.pod_reason in _LOST:
        return f"{_LOST[job.pod_reason][1]} {_GOES_ON}{kept}".strip()
    if job.agent:
        return f"{_NEXT.get(job.agent['reason'], _LABEL_AGAIN)}{kept}"
    return _LABEL_AGAIN if job.state in ("failed", "cancelled") else ""


def used(usage: AgentUsage) -> str:
    """Return what an agent has used, as far as it says so.

    >>> used(AgentUsage(turns=14, input_tokens=51200, output_tokens=4100, cost_usd=0.42))
    '14 turns, 55,300 tokens, $0.42'
    """
    tokens = (usage.input_tokens or 0) + (usage.output_tokens or 0)
    parts: Sequence[str] = (
        f"{usage.turns} turns" if usage.turns is not None else "",
        f"{tokens:,} tokens" if tokens else "",
        f"${usage.cost_usd:.2f}" if usage.cost_usd is not None else "",
    )
    return ", ".join(filter(None, parts))
