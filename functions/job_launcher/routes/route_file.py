"""Which events launch which Job: a YAML file, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from functions.events.approval import Stage
from functions.events.job import JobKind
from functions.job_grant import OutputRules
from functions.job_launcher.decide.budget import Limits, Unit
from functions.job_launcher.kubernetes.pod_options import PodOptions
from functions.job_launcher.routes import yaml_lines
from functions.job_launcher.routes.field_types import (
    Actor,
    Count,
    DottedPath,
    EnvName,
    FileName,
    Image,
    Patterns,
    Quantity,
    Seconds,
    SecretKeyName,
    SecretName,
    Teams,
    Text,
    as_list,
    references_items,
)


class BadRoutes(ValueError):
    """The routes file is invalid; one line for each problem, `file:line: field: problem`."""


class StrictModel(BaseModel):
    """A part of the file; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Match(StrictModel):
    """The fields of an event that a route matches. A text matches exactly, or by its prefix where
    it ends with `*`; a list matches if one entry does. A field that is left out matches all events.
    `author_association`, `actor`, `fork` and `bot` do not match an event without them.

    `actor` is the permission on GitHub that the sender must have at least; `team` one, or several,
    that it must be in; `command` the word after
    `/agent` in a comment; `pull_request` whether it is about one, with a comment as well."""

    type: Patterns
    source: Patterns | None = None
    action: Patterns | None = None
    label: Patterns | None = None
    branch: Patterns | None = None
    severity: Patterns | None = None
    agent: Patterns | None = None
    command: Patterns | None = None
    pull_request: bool | None = None
    author_association: Patterns | None = None
    actor: Actor | None = None
    team: Teams | None = None
    fork: bool | None = None
    bot: bool | None = None


class SecretKeyRef(StrictModel):
    """A reference to a key of a Secret in the jobs' namespace."""

    secret: SecretName
    key: SecretKeyName
    optional: bool = False


class ResourceList(StrictModel):
    """Quantities of CPU, memory and disk."""

    cpu: Quantity | None = None
    memory: Quantity | None = None
    storage: Quantity | None = Field(None, alias="ephemeral-storage")


class JobResources(StrictModel):
    """The container's requests and limits; the defaults are the launcher's settings."""

    requests: ResourceList = ResourceList()
    limits: ResourceList = ResourceList()


class WorkspaceTemplate(StrictModel):
    """The repository that the agent finds in its working folder, owner/name on GitHub; where the
    event names none, the folder is empty."""

    repository: Text
    ref: Text = ""
    submodules: bool = False
    lfs: bool = False
    setup: list[Text] = Field(default_factory=list)


class ApprovalTemplate(StrictModel):
    """What waits until a user with write access approves it: the Job's start, or its outputs."""

    before: Annotated[list[Stage], BeforeValidator(as_list), Field(min_length=1)]
    timeout_seconds: int = Field(86_400, ge=60)


class JobTemplate(StrictModel):
    """The template of a route's Job. All texts and numbers are templates over the event."""

    kind: JobKind
    task_id: Text
    service: Text
    repository: Text = ""
    image: Image | None = None
    command: list[Text] | None = None
    args: list[Text] | None = None
    env: dict[EnvName, Text] = Field(default_factory=dict)
    secrets: dict[EnvName, SecretKeyRef] = Field(default_factory=dict)
    files: dict[FileName, Text] = Field(default_factory=dict)
    secret_files: dict[FileName, SecretKeyRef] = Field(default_factory=dict)
    resources: JobResources = JobResources()
    ttl_seconds: Count | None = None
    deadline_seconds: Seconds | None = None
    retries: Count | None = None
    group: Text = ""
    group_limit: int | None = Field(None, ge=1)
    supersede: Text = ""
    unless_open: bool = False
    github: Text = ""
    issue: Count | None = None
    workspace: WorkspaceTemplate | None = None
    outputs: OutputRules | None = None
    pod: PodOptions = PodOptions()
    approval: ApprovalTemplate | None = None
    model: SecretKeyRef | None = None

    @model_validator(mode="after")
    def _each_name_once(self) -> JobTemplate:
        for plain, secret in (("env", "secrets"), ("files", "secret_files")):
            twice = sorted(set(getattr(self, plain)) & set(getattr(self, secret)))
            if twice:
                raise ValueError(f"{', '.join(twice)} is in {plain} and in {secret}: keep one")
        return self

    @model_validator(mode="after")
    def _issue_has_repository(self) -> JobTemplate:
        if self.approval and "outputs" in self.approval.before and not self.gives_outputs:
            raise ValueError("approval before outputs requires outputs or workspace")
        if self.model and not self.gives_outputs:
            raise ValueError("model requires outputs or workspace")
        if self.issue is not None and not (self.github or self.workspace):
            raise ValueError("issue requires github, its repository")
        return self

    @property
    def has_secrets(self) -> bool:
        """Does the agent itself get a secret?"""
        return bool(self.secrets or self.secret_files)

    @property
    def gives_outputs(self) -> bool:
        """Is what its agent leaves taken and applied?"""
        return self.workspace is not None or self.outputs is not None

    @model_validator(mode="after")
    def _group_limit_has_group(self) -> JobTemplate:
        if self.group_limit is not None and not self.group:
            raise ValueError("group_limit requires group")
        return self


class Route(StrictModel):
    """A route makes Jobs of the events that match, or ignores them for the reason given.

    With `each`, a path to a list in the event, `match` applies to each item: to its own action (or
    status), labels and severity. The items that match make one Job for each different task.
    """

    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
    match: Match
    each: DottedPath | None = None
    job: JobTemplate | None = None
    ignore: str | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _either_or(self) -> Route:
        if (self.job is None) == (self.ignore is None):
            raise ValueError("give either job or ignore")
        if self.match.fork and self.job is not None and self.job.has_secrets:
            raise ValueError(
                "an agent that reads a fork gets no secrets: give model in their place"
            )
        if self.each is not None and self.job is None:
            raise ValueError("each requires job")
        if self.each is None and self.job is not None and references_items(self.job.model_dump()):
            raise ValueError("item and items require each")
        return self


class Budget(StrictModel):
    """What the Jobs of each group that `group` names, or begins where it ends with `*`, may use in
    a day; the first budget that names a group is its own."""

    group: str = Field(min_length=1, max_length=200)
    usd: float | None = Field(None, gt=0)
    tokens: int | None = Field(None, gt=0)
    minutes: int | None = Field(None, gt=0)
    time_zone: str = "UTC"

    @field_validator("time_zone")
    @classmethod
    def _is_time_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{name[:40]!r} is no time zone such as Europe/Zurich") from None
        return name

    @model_validator(mode="after")
    def _limits_something(self) -> Budget:
        if not self.limits().limits:
            raise ValueError("give usd, tokens or minutes")
        return self

    def limits(self) -> Limits:
        given: dict[Unit, float | None] = {
            "usd": self.usd,
            "tokens": self.tokens,
            "minutes": self.minutes,
        }
        limits = {unit: value for unit, value in given.items() if value is not None}
        return Limits(self.group, self.time_zone, limits)


class RoutesFile(StrictModel):
    """The whole file; the first route that matches applies."""

    version: Literal[1] = 1
    routes: list[Route] = Field(min_length=1)
    budgets: list[Budget] = Field(default_factory=list)

    @model_validator(mode="after")
    def _each_name_once(self) -> RoutesFile:
        names = [route.name for route in self.routes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two routes are named {', '.join(twice)}")
        return self


def load(path: Path) -> tuple[Route, ...]:
    """Read the routes of a file; `BadRoutes` names file, line and field of each problem."""
    return tuple(load_file(path).routes)


def load_file(path: Path) -> RoutesFile:
    """Read the whole file; `BadRoutes` as with `load`."""
    try:
        return _parse(path.read_text(encoding="utf-8"), str(path), 0)
    except OSError as error:
        raise BadRoutes(f"{path}: cannot be read: {error.strerror}") from None


def parse(text: str, name: str = "routes", above: int = 0) -> tuple[Route, ...]:
    """Read the routes of a text; problems begin with `name`, `above` lines precede it."""
    return tuple(_parse(text, name, above).routes)


def _parse(text: str, name: str, above: int) -> RoutesFile:
    try:
        document, lines = yaml_lines.load(text)
    except yaml_lines.BadYaml as error:
        raise BadRoutes(f"{name}:{above + error.line}: {error}") from None
    try:
        return RoutesFile.model_validate(document)
    except ValidationError as error:
        problems = [_problem(name, lines, above, one) for one in error.errors()]
        raise BadRoutes("\n".join(dict.fromkeys(problems))) from None


def _problem(name: str, lines: yaml_lines.Lines, above: int, error: Mapping[str, Any]) -> str:
    # Pydantic ends the location of an invalid key with `[key]`.
    path = tuple(part for part in error["loc"] if part != "[key]")
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = "no such field"
    field = ".".join(map(str, path)) or "file"
    return f"{name}:{above + yaml_lines.line_of(lines, path)}: {field}: {message}"
