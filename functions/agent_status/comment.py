"""The comment on an issue: what is shown of its Jobs, as Markdown. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from functions.agent_status import approvals
from functions.agent_status.decide import Shown, awaited_by
from functions.agent_status.markdown import line
from functions.events.agent import AgentUsage
from functions.kit.clients.url_path import path

MAX_FILES = 20
# What these reasons leave open, the Job's own end may say.
_SILENT = ("lost", "no_outputs", "not_prepared")
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


def marker(route: str) -> str:
    """Return what tells our comment for a route from all others; no reader sees it."""
    return f"<!-- dsm status {route} -->"


@dataclass(frozen=True)
class Around:
    """What a comment shows beside its Jobs: what all agents have used on the issue so far, and the
    console's URL, empty where none is known."""

    jobs: int = 0
    total: AgentUsage = field(default_factory=AgentUsage)
    console_url: str = ""


def text(
    route: str,
    jobs: Mapping[str, Mapping[str, Any]],
    replies: Sequence[Mapping[str, Any]] = (),
    around: Around | None = None,
) -> str:
    """Return the comment: the newest Job in full, the others and replies in a line each."""
    lines, others = ["**No agent works on this.**"], []
    if jobs:
        job_id, *others = sorted(jobs, key=lambda job_id: -int(jobs[job_id]["number"]))
        lines = [*_full(job_id, Shown(**jobs[job_id]), around or Around())]
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


def _full(job_id: str, job: Shown, around: Around) -> list[str]:
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
    if job.reason and job.state in ("failed", "cancelled", "recorded"):
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
    usage = AgentUsage(**job.usage).max_with(AgentUsage(**reported.get("usage", {})))
    all_jobs = f"{around.jobs} Jobs, {used(around.total)}" if around.jobs > 1 else ""
    rows = [
        ("Job", f"`{job_id}`{_links(job_id, around.console_url)}"),
        ("Started", job.started_at),
        ("Ended", job.ended_at),
        ("Used", used(usage)),
        ("All agents here so far", all_jobs),
    ]
    table = [f"| {name} | {value} |" for name, value in rows if value]
    return [*lines, "", "| | |", "|---|---|", *table]


def _links(job_id: str, console_url: str) -> str:
    if not console_url:
        return ""
    page = f"{console_url.rstrip('/')}{path('jobs', job_id)}"
    return f" ([console]({page}), [log]({page}#panel-log))"


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
    if job.state == "failed" and _is_used_up(job):
        return "The agent was stopped: it has used what it might of its group's budget."
    if agent:
        return _REASONS[agent["reason"]]
    if job.state == "recorded":
        return "Recorded only: this machine cannot run the agent, so nothing was done."
    if job.state == "queued" and job.place:
        where = f"of group {line(job.group)}" if job.group else "in the queue"
        return f"An agent is queued for this, number {job.place} {where}."
    return {
        "queued": "An agent is queued for this.",
        "running": "An agent is working on this.",
        "succeeded": "The agent has ended.",
        "failed": "The agent failed.",
        "cancelled": "The agent was stopped.",
    }[job.state]


def _is_used_up(job: Shown) -> bool:
    return job.reason.startswith("BudgetUsedUp")


def _advice(job: Shown) -> str:
    if job.agent.get("delivered") or awaited_by(job):
        return ""
    is_kept = job.agent.get("kept") and job.agent["reason"] != "nothing_to_do"
    kept = " What it has done is kept." if is_kept else ""
    if job.state == "failed" and job.container == "setup":
        return _SETUP
    if job.state == "failed" and job.pod_reason in _LOST:
        return f"{_LOST[job.pod_reason][1]} {_GOES_ON}{kept}".strip()
    if _is_used_up(job):
        return f"{_GOES_ON}{kept}"
    if job.agent:
        return f"{_NEXT.get(job.agent['reason'], _LABEL_AGAIN)}{kept}"
    return _LABEL_AGAIN if job.state in ("failed", "cancelled") else ""


def used(usage: AgentUsage) -> str:
    """Return what an agent has used, as far as it says so.

    >>> used(AgentUsage(turns=14, input_tokens=51200, output_tokens=4100, cost_usd=0.42))
    '14 turns, 55,300 tokens, $0.42'
    """
    tokens = usage.tokens
    parts: Sequence[str] = (
        f"{usage.turns} turns" if usage.turns is not None else "",
        f"{tokens:,} tokens" if tokens else "",
        f"${usage.cost_usd:.2f}" if usage.cost_usd is not None else "",
    )
    return ", ".join(filter(None, parts))
