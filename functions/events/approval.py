"""Approvals: a user decides on a Job before its start, or before its outputs are applied."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from functions.events.agent import AboutAgentJob, AgentUsage
from functions.events.base import Value

Stage = Literal["start", "outputs"]
Decision = Literal["approved", "rejected", "expired"]


def describe(decision: Decision, by: str, reason: str) -> str:
    """Return a decision in words.

    >>> describe("rejected", "octocat", "too large"), describe("expired", "", "")
    ('rejected by octocat: too large', 'no user approved it in time')
    """
    if decision == "expired":
        return "no user approved it in time"
    return f"{decision} by {by}{': ' if reason else ''}{reason}"


class ChangedFile(Value):
    """A file of a diffstat, with its lines; they are None of a binary file."""

    path: str
    additions: int | None = None
    deletions: int | None = None


class ApprovalFact(AboutAgentJob):
    """What is true of an approval; `before` is what a Job may not do without it."""

    before: Stage

    def identity(self) -> str | None:
        # Each is requested once, and decided once.
        return f"{self.job_id} {self.before}"


class ApprovalRequested(ApprovalFact):
    """A Job waits for a user's approval until `expires_at`.

    Before outputs are applied, `wants` says in a line each what the agent asks for, and `files` are
    the first of `file_count` files that its commits change.
    """

    type: ClassVar[str] = "io.dsm.approval.requested.v1"

    expires_at: datetime
    wants: list[str] = Field(default_factory=list)
    commits: int = 0
    file_count: int = 0
    files: list[ChangedFile] = Field(default_factory=list)
    usage: AgentUsage = AgentUsage()
    summary: str = ""


class ApprovalDecided(ApprovalFact):
    """A user has approved or rejected what a Job waits for; `by` is empty where it has expired."""

    type: ClassVar[str] = "io.dsm.approval.decided.v1"

    decision: Decision
    by: str = ""
    reason: str = ""
    decided_at: datetime
