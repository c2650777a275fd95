"""Jobs: an agent's work as a Kubernetes Job, from the queue to its end."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from functions.events.base import Attribute, Event

JobKind = Literal["prepare", "execute", "assist", "review"]
# Reasons of a `JobFailed` whose agent never ran.
NEVER_RAN = ("Refused", "NotLaunched", "NotStarted")


class JobFact(Event):
    """What is true of a Job; `job_id` is its name in Kubernetes.

    `repository` (owner/name on GitHub) and `issue`, the number of an issue or pull request, are
    where its users look; empty and None where it has no such place. `gives_outputs`: what comes of
    it is a fact of agent-outputs.

    Kubernetes reports what happens to it, but chain and trace are those of the request for it.
    """

    correlation_id: Annotated[str, Attribute()] = ""
    traceparent: Annotated[str, Attribute()] = ""

    job_id: str
    kind: JobKind
    task_id: str
    service: str
    group: str
    route: str
    repository: str = ""
    issue: int | None = None
    gives_outputs: bool = False

    def subject(self) -> str | None:
        return self.job_id

    def identity(self) -> str | None:
        # Each of these happens to a Job once at most.
        return self.job_id


class JobQueued(JobFact):
    """A request has been claimed; its Job is made as soon as the limits allow.

    `place` is its place among those of its group that wait, from 1 on; 0 where it waits for an
    approval first. `pull_request`: its `issue` is a pull request.
    """

    type: ClassVar[str] = "io.dsm.job.queued.v1"

    pull_request: bool = False
    place: int = 0

    cause_id: str
    cause_source: str
    cause_type: str


class JobMoved(JobFact):
    """A request that waits has another place among those of its group; reported each minute."""

    type: ClassVar[str] = "io.dsm.job.moved.v1"

    place: int
    moved_at: datetime

    def identity(self) -> str | None:
        return f"{self.job_id} {self.place} {self.moved_at.isoformat()}"


class JobHeld(JobFact):
    """A request waits as the budget of its group is used up.

    It starts at `until`, or once the budget is raised.
    """

    type: ClassVar[str] = "io.dsm.job.held.v1"

    reason: str
    until: datetime

    def identity(self) -> str | None:
        return f"{self.job_id} {self.until.isoformat()}"


class BudgetWarned(JobFact):
    """The Jobs of a group have used most of what they may use in a day.

    It is `used` of `limit`, in dollars (`usd`), tokens or minutes, and reported of the Job whose
    use is known last.
    """

    type: ClassVar[str] = "io.dsm.budget.warned.v1"

    unit: Literal["usd", "tokens", "minutes"]
    used: float
    limit: float
    day_ends_at: datetime

    def identity(self) -> str | None:
        return f"{self.group} {self.unit} {self.day_ends_at.isoformat()}"


class JobStarted(JobFact):
    """A Job's first pod runs."""

    type: ClassVar[str] = "io.dsm.job.started.v1"

    started_at: datetime


class JobSucceeded(JobFact):
    """A Job is complete.

    `blocked` is what its network refused, such as `evil.example:443 (2 times)`.
    """

    type: ClassVar[str] = "io.dsm.job.succeeded.v1"

    started_at: datetime
    ended_at: datetime
    blocked: list[str] = Field(default_factory=list)


class JobRecorded(JobFact):
    """A Job was recorded only: the machine lacks what it needs, nothing of its task was done."""

    type: ClassVar[str] = "io.dsm.job.recorded.v1"

    ended_at: datetime
    reason: str


class JobFailed(JobFact):
    """A Job failed for good: no retries remain, or it could not be made.

    `reason` is Kubernetes' word for the Job (`BackoffLimitExceeded`) or ours (`Refused`);
    `pod_reason` and `exit_code` are the last pod's, `container` the one of it that failed, `log`
    its last lines; `blocked` is what its network refused.
    """

    type: ClassVar[str] = "io.dsm.job.failed.v1"

    ended_at: datetime
    reason: str
    message: str
    pod_reason: str | None = None
    container: str = ""
    exit_code: int | None = None
    log: list[str] = Field(default_factory=list)
    blocked: list[str] = Field(default_factory=list)

    def why(self) -> str:
        """Return the reason, and the message where there is one."""
        return f"{self.reason}: {self.message}" if self.message else self.reason


class JobCancelled(JobFact):
    """A Job was cancelled: stopped before its end, or never made."""

    type: ClassVar[str] = "io.dsm.job.cancelled.v1"

    ended_at: datetime
    reason: str
    superseded_by: str | None = None
