"""What came of a Job: not whether its process ended well, but what there is to show. Pure.

delivered     its outputs were applied, or reported to whoever asked for it
undelivered   nothing was, for a reason of `UndeliveredReason`
pending       it has ended, and agent-outputs has not reported yet what comes of it
recorded      the machine could not run it
completed     exit code 0; its route takes no outputs, so nothing tells what came of it
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from functions.events.agent import AgentDelivered, AgentFact
from functions.events.job import NEVER_RAN
from functions.job_launcher.decide.job_status import ENDED

JobOutcome = Literal["delivered", "undelivered", "pending", "recorded", "completed"]

_SHOWN = {"reason", "details", "kept", "pull_request", "url", "branch", "commits", "files"}
_SHOWN |= {"commented", "labels", "summary", "usage", "settled_at"}


def result_of(fact: AgentFact) -> dict[str, Any]:
    """Return what is stored of a fact, in JSON's types."""
    data = fact.model_dump(mode="json", include={*_SHOWN, "report"})
    return {"outcome": "delivered" if isinstance(fact, AgentDelivered) else "undelivered", **data}


def outcome_of(
    state: str, ending: Mapping[str, Any], agent: Mapping[str, Any] | None, *, gives_outputs: bool
) -> JobOutcome | None:
    """Return the outcome; None while the Job is open, and where it failed or was cancelled.

    >>> outcome_of("succeeded", {}, None, gives_outputs=True)
    'pending'
    >>> outcome_of("failed", {"reason": "NotStarted"}, None, gives_outputs=True)
    """
    if agent is not None:
        found: JobOutcome = agent["outcome"]
        return found
    if state not in ENDED or state == "cancelled":
        return None
    if state == "recorded":
        return "recorded"
    if gives_outputs and ending.get("reason") not in NEVER_RAN:
        return "pending"
    return "completed" if state == "succeeded" else None


def result(agent: Mapping[str, Any] | None, *, with_report: bool = False) -> dict[str, Any] | None:
    """Return what the API shows of it, the report only if asked for."""
    if agent is None:
        return None
    return {name: agent[name] for name in agent if name in _SHOWN or with_report}


def status_of(state: str, outcome: JobOutcome | None, reason: str | None) -> str:
    """Return a task's status by its newest Job. What the agent found unnecessary is completed.

    >>> status_of("succeeded", "delivered", None), status_of("succeeded", "undelivered", "refused")
    ('completed', 'undelivered')
    >>> status_of("succeeded", "completed", None), status_of("failed", "undelivered", "lost")
    ('ended', 'failed')
    """
    if outcome == "delivered" or reason == "nothing_to_do":
        return "completed"
    if outcome in ("pending", "recorded"):
        return {"pending": "in_progress"}.get(outcome, outcome)
    if state == "succeeded":
        return "undelivered" if outcome == "undelivered" else "ended"
    return {"queued": "pending", "starting": "in_progress", "running": "in_progress"}.get(
        state, state
    )
