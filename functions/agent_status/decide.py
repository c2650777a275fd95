"""What is shown of Jobs on an issue: facts in whatever order, one text. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from functions.agent_status import approvals
from functions.agent_status.markdown import time
from functions.events.agent import (
    AgentAnswered,
    AgentDelivered,
    AgentFact,
    AgentRefused,
    AgentUndelivered,
    AgentUsage,
    AgentUsed,
)
from functions.events.approval import ApprovalDecided, ApprovalFact, ApprovalRequested, Stage
from functions.events.base import Event
from functions.events.job import (
    BudgetWarned,
    JobCancelled,
    JobFact,
    JobFailed,
    JobHeld,
    JobMoved,
    JobQueued,
    JobRecorded,
    JobStarted,
    JobSucceeded,
)

MAX_JOBS = 5  # of one comment, the newest
MAX_REPLIES = 3  # to users who asked for something, the newest
SHOWS_AGAIN = ("/agent status", "/agent why")
# A state is never replaced by one that comes before it, as events may overtake one another.
_RANK = {"queued": 0, "running": 1, "cancelled": 2, "failed": 2, "succeeded": 2, "recorded": 2}


@dataclass(frozen=True)
class Shown:
    """One Job as it is shown; times in ISO 8601."""

    number: int
    state: str = "queued"
    started_at: str = ""
    ended_at: str = ""
    reason: str = ""
    outcome: str = ""  # of the version before
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
    # Its place among those of its group that wait; 0 where it is not known.
    group: str = ""
    place: int = 0
    moved_at: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)


def merged(
    jobs: Mapping[str, Mapping[str, Any]], fact: JobFact | AgentUsed | AgentFact | ApprovalFact
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
        changed |= {"gives_outputs": fact.gives_outputs, "group": fact.group}
    if usage := usage_in(fact):
        known = AgentUsage.model_validate(held.usage)
        changed["usage"] = usage.max_with(known).model_dump(mode="json")
    if isinstance(fact, JobQueued):
        changed["pull_request"] = fact.pull_request
    found = {**jobs, fact.job_id: changed}
    newest = sorted(found, key=lambda job_id: int(found[job_id]["number"]))[-MAX_JOBS:]
    return {job_id: dict(found[job_id]) for job_id in newest}


def usage_in(fact: Event) -> AgentUsage | None:
    """Return what a fact reports of an agent's use."""
    return fact.usage if isinstance(fact, AgentUsed | AgentFact | ApprovalRequested) else None


def is_minor(fact: Event) -> bool:
    """Is it worth no edit of its own, but each ten minutes?"""
    return isinstance(fact, JobMoved | AgentUsed)


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
    """Does a user who may wait for the comment, though one may have deleted it?"""
    return any(
        one["asked"] in SHOWS_AGAIN and one["content"] == "+1" and not one["reacted"]
        for one in replies
    )


def _change(held: Shown, fact: JobFact | AgentUsed | AgentFact | ApprovalFact) -> dict[str, Any]:
    match fact:
        case AgentUsed():
            return {}
        case JobMoved():
            at = fact.moved_at.isoformat()
            return {"place": fact.place, "moved_at": at} if at > held.moved_at else {}
        case ApprovalRequested() | ApprovalDecided():
            data = fact.model_dump(mode="json", exclude=set(ApprovalFact.model_fields))
            known = held.approvals.get(fact.before) or {}
            return {"approvals": {**held.approvals, fact.before: {**known, **data}}}
        case AgentDelivered() | AgentUndelivered():
            excluded = {"correlation_id", "traceparent", "job_id", "task_id", "route"}
            data = fact.model_dump(mode="json", exclude=excluded)
            before = held.agent.get("settled_at")
            if before and datetime.fromisoformat(before) > fact.settled_at:
                return {}
            return {"agent": {**data, "delivered": isinstance(fact, AgentDelivered)}}
        case JobHeld():
            return {"held": fact.reason[:500]}
        case BudgetWarned():
            return {"budget": _used_up(fact)}
        case JobStarted():
            change: dict[str, Any] = {"state": "running", "started_at": time(fact.started_at)}
        case JobSucceeded():
            times = {"started_at": time(fact.started_at), "ended_at": time(fact.ended_at)}
            change = {"state": "succeeded", **times}
            change["blocked"] = fact.blocked
        case JobRecorded():
            change = {"state": "recorded", "ended_at": time(fact.ended_at)}
            change["reason"] = fact.reason[:500]
        case JobFailed():
            change = {"state": "failed", "ended_at": time(fact.ended_at)}
            change["reason"] = fact.why()[:500]
            change |= {"pod_reason": fact.pod_reason or "", "container": fact.container}
            change["blocked"] = fact.blocked
        case JobCancelled():
            change = {"state": "cancelled", "ended_at": time(fact.ended_at)}
            change["reason"] = fact.reason[:500]
        case JobQueued() if not held.moved_at:
            change = {"state": "queued", "place": fact.place}
        case _:
            change = {"state": "queued"}
    if _RANK[change["state"]] < _RANK[held.state]:
        return {name: value for name, value in change.items() if name == "started_at"}
    return change


def _used_up(fact: BudgetWarned) -> str:
    percent = int(100 * fact.used / fact.limit)
    until = time(fact.day_ends_at)
    return f"{percent} % of the budget of group {fact.group} ({fact.unit}) are used, until {until}."


def awaited_by(job: Shown) -> Stage | None:
    """Return the approval that a Job waits for."""
    ended = {"start": job.state != "queued", "outputs": bool(job.agent)}
    return approvals.awaited(job.approvals, ended)
