"""Agents: what came of an agent's work, applied to its repository or not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from functions.events.base import Attribute, Event, Text, Value

UndeliveredReason = Literal[
    "nothing_to_do",  # the agent says so, and why
    "not_prepared",  # there was no workspace for it: the clone failed
    "lost",  # its pod was, before it had posted anything
    "no_outputs",  # it ended without saying anything
    "invalid_outputs",  # what it says does not fit the schema
    "no_commits",  # it wants a pull request of nothing
    "refused",  # the route's rules forbid it
    "not_approved",  # a user rejects it, or none approves it in time
    "branch_moved",  # its branch has commits that it did not see
    "github_refused",  # GitHub does
    "not_applied",  # GitHub was away for too long
]


def command_of(comment: str) -> str:
    r"""Return the command that a comment gives an agent, empty where it gives none.

    >>> command_of("/agent Review\n\nplease"), command_of("try /agent review")
    ('review', '')
    """
    parts = comment.partition("\n")[0].split()
    return parts[1].lower()[:50] if len(parts) > 1 and parts[0] == "/agent" else ""


_MAX_USAGE = {"turns": 10**9, "input_tokens": 10**12, "output_tokens": 10**12, "cost_usd": 10**6}


class AgentUsage(Value):
    """What an agent says that it has used; cost in US dollars.

    The maxima are what no Job can use: the sums of a million Jobs still fit.
    """

    turns: int | None = Field(None, ge=0, le=_MAX_USAGE["turns"])
    input_tokens: int | None = Field(None, ge=0, le=_MAX_USAGE["input_tokens"])
    output_tokens: int | None = Field(None, ge=0, le=_MAX_USAGE["output_tokens"])
    cost_usd: float | None = Field(None, ge=0, le=_MAX_USAGE["cost_usd"], allow_inf_nan=False)
    session: Text | None = Field(None, max_length=200)

    @property
    def tokens(self) -> int:
        return (self.input_tokens or 0) + (self.output_tokens or 0)

    def max_with(self, known: AgentUsage) -> AgentUsage:
        """Return the larger of both, field by field: usage never becomes less.

        >>> known = AgentUsage(turns=3, cost_usd=0.5)
        >>> AgentUsage(turns=2, session="b").max_with(known).model_dump(exclude_none=True)
        {'turns': 3, 'cost_usd': 0.5, 'session': 'b'}
        """
        return self._with(known, max)

    def plus(self, other: AgentUsage) -> AgentUsage:
        """Return the sum of both, field by field, at most the maxima; the session is the own one.

        >>> both = AgentUsage(turns=3, cost_usd=0.5).plus(AgentUsage(turns=2))
        >>> both.turns, both.cost_usd, both.input_tokens
        (5, 0.5, None)
        """
        return self._with(other, sum)

    def _with(self, other: AgentUsage, combine: Callable[[list[float]], float]) -> AgentUsage:
        found: dict[str, Any] = {}
        for name, limit in _MAX_USAGE.items():
            pair = [one for one in (getattr(self, name), getattr(other, name)) if one is not None]
            found[name] = min(combine(pair), limit) if pair else None
        return AgentUsage(**found, session=self.session or other.session)


class AboutAgentJob(Event):
    """About an agent's Job; `repository` is owner/name on GitHub, or empty, `issue` the number of
    the issue or pull request that it was about."""

    correlation_id: Annotated[str, Attribute()] = ""
    traceparent: Annotated[str, Attribute()] = ""

    job_id: str
    task_id: str
    route: str
    repository: str = ""
    issue: int | None = None

    def subject(self) -> str | None:
        return self.job_id


class AgentUsed(AboutAgentJob):
    """What an agent has used so far, as it reports while it works.

    What it has used in the end is in the event of what came of its outputs.
    """

    type: ClassVar[str] = "io.dsm.agent.used.v1"

    usage: AgentUsage
    used_at: datetime

    def identity(self) -> str | None:
        # It only grows.
        one = self.usage
        counts = (one.turns, one.input_tokens, one.output_tokens, one.cost_usd)
        return f"{self.job_id} {' '.join(map(str, counts))}"


class AgentFact(AboutAgentJob):
    """What came of a Job's outputs."""

    settled_at: datetime
    usage: AgentUsage = AgentUsage()
    summary: str = ""

    def identity(self) -> str | None:
        # The outputs of a Job are settled once more where they come after it was given up.
        return f"{self.job_id} {self.settled_at.isoformat()}"


class AgentDelivered(AgentFact):
    """An agent's outputs were applied: a pull request, a comment, labels, as far as it asked.

    `report` is for whoever asked for the task, `details` what GitHub refused beside what was done.
    """

    type: ClassVar[str] = "io.dsm.agent.delivered.v1"

    pull_request: int | None = None
    url: str = ""
    branch: str = ""
    commits: int = 0
    files: list[str] = Field(default_factory=list)
    commented: bool = False
    labels: list[str] = Field(default_factory=list)
    report: str = ""
    details: list[str] = Field(default_factory=list)


class AgentUndelivered(AgentFact):
    """Nothing of an agent's outputs was applied; what it committed is kept (`kept`)."""

    type: ClassVar[str] = "io.dsm.agent.undelivered.v1"

    reason: UndeliveredReason
    details: list[str] = Field(default_factory=list)
    kept: bool = False


class AgentReply(Event):
    """The reply to a user's request for an agent's work on an issue or pull request.

    `asked` is the label or the command, `comment` the id of its comment.
    """

    correlation_id: Annotated[str, Attribute()] = ""

    route: str
    repository: str
    issue: int
    login: str
    asked: str
    comment: int | None = None

    def subject(self) -> str | None:
        return f"{self.repository}#{self.issue}"


class AgentRefused(AgentReply):
    """A user asked for an agent's work and may not: nothing was started."""

    type: ClassVar[str] = "io.dsm.agent.refused.v1"

    reason: str
    refused_at: datetime


class AgentAnswered(AgentReply):
    """A user's command about the Jobs of an issue was carried out, or answered."""

    type: ClassVar[str] = "io.dsm.agent.answered.v1"

    answer: str
    answered_at: datetime
