"""What is asked of a Job: its task, workspace, keys, limits and approval."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from functions.events.approval import Stage
from functions.events.job import JobKind


@dataclass(frozen=True)
class SecretKey:
    """A variable or file whose value is in a Secret of the jobs' namespace."""

    secret: str
    key: str
    optional: bool = False


@dataclass(frozen=True)
class Workspace:
    """The repository that an agent gets, owner/name: from `ref`, on a branch of its own.

    Without a repository it has an empty folder. `ref` is empty for the default branch; `submodules`
    are those that anyone may read, `lfs` the files that it has in Git LFS; `setup` is a command of
    the agent's image; `image` has the programs that prepare the workspace and collect what comes of
    it, for `outputs_url`, and keep it every `checkpoint_s` seconds.
    """

    repository: str
    branch: str
    image: str
    outputs_url: str
    ref: str = ""
    setup: list[str] = field(default_factory=list)
    checkpoint_s: int = 60
    submodules: bool = False
    lfs: bool = False


@dataclass(frozen=True)
class Approval:
    """What a Job may not do before a user approves it, `start` or `outputs`, and for how long it
    waits for that."""

    before: list[str]
    timeout_s: int


@dataclass(frozen=True)
class JobRequest:
    """The parameters of a Job; times in seconds. `job_id` is the Job's name.

    `refusal` is why no Job can be made of the request: it is stored as failed.
    """

    job_id: str
    route: str
    kind: JobKind
    task_id: str
    service: str
    repository: str
    group: str
    group_limit: int | None
    supersede: str
    image: str
    command: list[str]
    args: list[str]
    env: dict[str, str]
    secrets: dict[str, SecretKey]
    files: dict[str, str]
    requests: dict[str, str]
    limits: dict[str, str]
    ttl_s: int
    deadline_s: int
    retries: int
    cause_id: str
    cause_source: str
    cause_type: str
    correlation_id: str = ""
    # Older rows lack these.
    secret_files: dict[str, SecretKey] = field(default_factory=dict)
    traceparent: str = ""
    refusal: str = ""
    # The number of the issue or pull request, of `github`, owner/name.
    github: str = ""
    issue: int | None = None
    pull_request: bool = False
    workspace: Workspace | None = None
    # What of the agent's outputs is applied, as in `job_grant.OutputRules`.
    outputs: dict[str, Any] = field(default_factory=dict)
    # It goes on from what an earlier Job of its task has left.
    resume: bool = False
    # As in `pod_options.PodOptions`.
    pod: dict[str, Any] = field(default_factory=dict)
    # No second Job of its task while one is open.
    unless_open: bool = False
    # The proxy's URL, where the pod has a list of host names, `pod["egress"]`.
    proxy: str = ""
    approval: Approval | None = None
    # Its model's key, for a container beside the agent's; `model_url` is the API's.
    model: SecretKey | None = None
    model_url: str = ""

    def needs_approval(self, stage: Stage) -> bool:
        """Does it wait for a user before this?"""
        return self.approval is not None and stage in self.approval.before
