"""What comes in from outside: GitHub's and Grafana's webhooks, and what a PM agent or a CLI asks.

Events of GitHub and Grafana keep the sender's own data; only what we read is typed.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from functions.events.base import Attribute, Event, Id, Request, Value

Priority = Literal["low", "medium", "high", "critical"]
# With the criteria it is a Job's files, of which a ConfigMap takes 1 MiB: four bytes a character.
MAX_DESCRIPTION = 140_000
Criterion = Annotated[str, Field(max_length=1000)]
Origin = Literal["pm", "cli"]
# GitHub's roles in a repository, each with the rights of those before it. In a public repository
# every account may read.
Permission = Literal["none", "read", "triage", "write", "maintain", "admin"]
PERMISSIONS: tuple[Permission, ...] = get_args(Permission)
# A team of an organisation by its slug, as routes and ACTOR_TEAMS name it.
TEAM = r"^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9][A-Za-z0-9_-]*$"


class GithubUser(Value):
    """An account on GitHub."""

    login: str


class GithubLabel(Value):
    """A label of an issue or a pull request."""

    name: str


class GithubRepository(Value):
    """A repository; `full_name` is owner/name."""

    full_name: str
    default_branch: str = ""
    clone_url: str = ""
    html_url: str = ""


class GithubIssue(Value):
    """An issue, as far as we read it."""

    number: int
    title: str = ""
    body: str | None = None
    state: str = ""
    html_url: str = ""
    labels: list[GithubLabel] = Field(default_factory=list)


class GithubRef(Value):
    """One side of a pull request: the branch and its commit."""

    ref: str = ""
    sha: str = ""


class GithubPullRequest(GithubIssue):
    """A pull request, as far as we read it."""

    head: GithubRef = GithubRef()
    base: GithubRef = GithubRef()


class GithubEvent(Event):
    """An event of GitHub, `com.github.<event>[.<action>]`, named as CloudEvents' adapter does.

    Its id is the delivery, its source the URL of the repository or organisation. Mind that the
    adapter calls GitHub's `issues` event `com.github.issue`.

    Of a label or a command, which ask for work, webhook-receiver asks GitHub what the payload does
    not say: `actor_permission` is the sender's in the repository, or empty, and `actor_problem`
    why; `actor_teams` those of `ACTOR_TEAMS` that it is in, org/slug with commas; `fork` whether a
    command is about a pull request from another repository.
    """

    type: ClassVar[str] = "com.github"
    family: ClassVar[bool] = True

    event_type: Annotated[str, Attribute("type")]
    actor_permission: Annotated[str, Attribute()] = ""
    actor_problem: Annotated[str, Attribute()] = ""
    actor_teams: Annotated[str, Attribute()] = ""
    fork: Annotated[str, Attribute()] = ""
    action: str | None = None
    ref: str | None = None
    label: GithubLabel | None = None
    issue: GithubIssue | None = None
    pull_request: GithubPullRequest | None = None
    repository: GithubRepository | None = None
    organization: GithubUser | None = None
    sender: GithubUser | None = None

    def subject(self) -> str | None:
        found = self.pull_request or self.issue
        return str(found.number) if found else None


class GrafanaAlert(Value):
    """One alert of a notification; `startsAt` and `endsAt` as Grafana writes them."""

    status: str
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    starts_at: str = Field("", alias="startsAt")
    ends_at: str | None = Field(None, alias="endsAt")
    fingerprint: str = ""
    generator_url: str = Field("", alias="generatorURL")


class GrafanaNotified(Event):
    """Grafana Alerting notifies: `com.grafana.alert.firing` or `com.grafana.alert.resolved`.

    Subject is the receiver's name; the id is a digest of group key, fingerprints, starts, status.
    """

    type: ClassVar[str] = "com.grafana.alert"
    family: ClassVar[bool] = True

    event_type: Annotated[str, Attribute("type")]
    status: str
    receiver: str = ""
    title: str = ""
    message: str = ""
    group_key: str = Field("", alias="groupKey")
    common_labels: dict[str, str] = Field(default_factory=dict, alias="commonLabels")
    common_annotations: dict[str, str] = Field(default_factory=dict, alias="commonAnnotations")
    alerts: list[GrafanaAlert]

    def subject(self) -> str | None:
        return self.receiver or None


class TaskRequested(Request):
    """A PM agent or a user requests a task to be done by an agent.

    `repository`, owner/name on GitHub, is what it works on; without one it can only report.
    """

    type: ClassVar[str] = "io.dsm.task.requested.v1"

    task_id: Id = Field(max_length=200)
    service: str = Field(min_length=1, max_length=200)
    title: str = Field(min_length=1, max_length=1000)
    description: str = Field("", max_length=MAX_DESCRIPTION)
    acceptance_criteria: list[Criterion] = Field(default_factory=list, max_length=50)
    priority: Priority = "medium"
    agent_type: Literal["claude", "gemini"] | None = None
    project_id: Id | None = Field(None, max_length=200)
    repository: str | None = Field(None, max_length=140, pattern=r"^[\w-]+/[\w.-]+$")
    assigned_to: str | None = None
    origin: Origin = "cli"
    metadata: dict[str, Any] = Field(default_factory=dict)

    def subject(self) -> str | None:
        return self.task_id


class TaskUpdateRequested(Request):
    """What is asked of a task has changed; only the fields that are set."""

    type: ClassVar[str] = "io.dsm.task.update.requested.v1"

    task_id: Id = Field(max_length=200)
    service: str | None = Field(None, min_length=1, max_length=200)
    title: str | None = Field(None, min_length=1, max_length=1000)
    description: str | None = Field(None, max_length=MAX_DESCRIPTION)
    acceptance_criteria: list[Criterion] | None = Field(None, max_length=50)
    priority: Priority | None = None
    status: str | None = Field(None, min_length=1, max_length=100)
    project_id: Id | None = Field(None, max_length=200)
    assigned_to: str | None = None
    origin: Origin = "pm"
    metadata: dict[str, Any] = Field(default_factory=dict)

    def subject(self) -> str | None:
        return self.task_id


class _JobOrTask(Request):
    job: Id | None = Field(None, max_length=200)
    task_id: Id | None = Field(None, max_length=200)
    reason: str = Field("", max_length=500)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.job is None) == (self.task_id is None):
            raise ValueError("name either job or task_id")
        return self

    def subject(self) -> str | None:
        return self.job or self.task_id


class JobCancelRequested(_JobOrTask):
    """A user requests that work stops: one Job by its name, or whatever runs for a task."""

    type: ClassVar[str] = "io.dsm.job.cancel.requested.v1"


class JobRetryRequested(_JobOrTask):
    """A user requests a Job, or the newest of a task, once more: from what it has left."""

    type: ClassVar[str] = "io.dsm.job.retry.requested.v1"

    correlation_id: Annotated[str, Attribute()] = ""
    traceparent: Annotated[str, Attribute()] = ""
