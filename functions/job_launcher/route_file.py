"""Which events launch which Job: a YAML file, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from functions.events.job import JobKind
from functions.job_launcher import located
from functions.job_launcher.route_fields import (
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
    Text,
    speaks_of_items,
)


class BadRoutes(ValueError):
    """The routes file is wrong; one line for each problem, `file:line: field: what`."""


class Strict(BaseModel):
    """A part of the file: a field that nobody knows is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Match(Strict):
    """What an event must be. A text matches exactly, or by its beginning where it ends with `*`;
    a list matches if one of it does; what is not given does not matter. Of what an event does not
    say, `author_association` and `fork` match nothing."""

    type: Patterns
    source: Patterns | None = None
    action: Patterns | None = None
    label: Patterns | None = None
    branch: Patterns | None = None
    severity: Patterns | None = None
    agent: Patterns | None = None
    author_association: Patterns | None = None
    fork: bool | None = None


class SecretKeyRef(Strict):
    """Where a secret value is, in the jobs' namespace."""

    secret: SecretName
    key: SecretKeyName
    optional: bool = False


class Amounts(Strict):
    """CPU, memory and disk as Kubernetes writes them."""

    cpu: Quantity | None = None
    memory: Quantity | None = None
    storage: Quantity | None = Field(None, alias="ephemeral-storage")


class Resources(Strict):
    """What the container asks for and gets at most; the launcher's settings where not given."""

    requests: Amounts = Amounts()
    limits: Amounts = Amounts()


class Job(Strict):
    """The Job to make. All texts and numbers are templates over the event."""

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
    resources: Resources = Resources()
    ttl_seconds: Count | None = None
    deadline_seconds: Seconds | None = None
    retries: Count | None = None
    group: Text = ""
    group_limit: int | None = Field(None, ge=1)
    supersede: Text = ""

    @model_validator(mode="after")
    def _each_name_once(self) -> Job:
        for plain, secret in (("env", "secrets"), ("files", "secret_files")):
            twice = sorted(set(getattr(self, plain)) & set(getattr(self, secret)))
            if twice:
                raise ValueError(f"{', '.join(twice)} is in {plain} and in {secret}: keep one")
        return self

    @model_validator(mode="after")
    def _a_limit_of_something(self) -> Job:
        if self.group_limit is not None and not self.group:
            raise ValueError("group_limit limits nothing without group")
        return self


class Route(Strict):
    """An event that matches becomes the Job, or is ignored for the reason given.

    With `each`, a path to a list in the event, `match` is about each item: by the item's own action
    (or status), labels and severity. The event matches if an item does, and of those that do there
    is one Job for each different task.
    """

    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
    match: Match
    each: DottedPath | None = None
    job: Job | None = None
    ignore: str | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _either_or(self) -> Route:
        if (self.job is None) == (self.ignore is None):
            raise ValueError("give either job or ignore")
        if self.each is not None and self.job is None:
            raise ValueError("each makes Jobs: give it with job")
        if self.each is None and self.job is not None and speaks_of_items(self.job.model_dump()):
            raise ValueError("item and items are there with each only")
        return self


class RoutesFile(Strict):
    """The whole file; the first route that matches is taken."""

    version: Literal[1] = 1
    routes: list[Route] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_name_once(self) -> RoutesFile:
        names = [route.name for route in self.routes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two routes are named {', '.join(twice)}")
        return self


def load(path: Path) -> tuple[Route, ...]:
    """The routes in a file; `BadRoutes` names file, line and field of everything wrong."""
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise BadRoutes(f"{path}: cannot be read: {error.strerror}") from None


def parse(text: str, name: str = "routes", above: int = 0) -> tuple[Route, ...]:
    """The routes in a text; `name` begins each problem. `above`: lines of its file before it."""
    try:
        document, lines = located.load(text)
    except located.BadYaml as error:
        raise BadRoutes(f"{name}:{above + error.line}: {error}") from None
    try:
        return tuple(RoutesFile.model_validate(document).routes)
    except ValidationError as error:
        problems = [_problem(name, lines, above, one) for one in error.errors()]
        raise BadRoutes("\n".join(dict.fromkeys(problems))) from None


def _problem(name: str, lines: located.Lines, above: int, one: Mapping[str, Any]) -> str:
    # A bad key of a mapping is told with `[key]` at the end: it stands where its value does.
    path = tuple(part for part in one["loc"] if part != "[key]")
    said = str(one["msg"]).removeprefix("Value error, ")
    if one["type"] == "extra_forbidden":
        said = "no such field"
    field = ".".join(map(str, path)) or "file"
    return f"{name}:{above + located.line_of(lines, path)}: {field}: {said}"


@dataclass
class RoutesSource:
    """The routes of a mounted file, read again when it changes.

    A change that is wrong is refused: the routes before it stay, and `refused` says why.
    """

    path: Path
    refused: str = ""

    @cached_property
    def _held(self) -> dict[str, Any]:
        return {"stamp": self._stamp(), "routes": load(self.path)}

    def routes(self) -> tuple[Route, ...]:
        """The routes now; `BadRoutes` only where they were never right."""
        held = self._held
        if (stamp := self._stamp()) != held["stamp"]:
            held["stamp"] = stamp
            try:
                held["routes"], self.refused = load(self.path), ""
            except BadRoutes as error:
                self.refused = str(error)
        found: tuple[Route, ...] = held["routes"]
        return found

    def _stamp(self) -> tuple[int, int] | None:
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size
