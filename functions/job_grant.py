"""What one Job may have done in its name: a signed statement that its pod shows to agent-outputs.

job-launcher signs it (a JSON Web Token, HS256) and hands it to the pod's own containers, never to
the agent's; agent-outputs verifies it and does nothing that is not in it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

AUDIENCE = "agent-outputs"
MIN_KEY_LENGTH = 32
# After the Job's end its sidecar posts, for six hours where agent-outputs is away.
LATE_S = 6 * 3600 + 600
# Neither an option of git nor a path out of a folder.
REPOSITORY = r"^[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$"
REF = r"^([A-Za-z0-9_][A-Za-z0-9._/-]{0,200})?$"


class InvalidGrant(ValueError):
    """It is not ours, is over, or says what cannot be."""


class OutputRules(BaseModel):
    """What of an agent's outputs is applied; the rest is refused.

    `forbidden_paths` are patterns of whole paths, beside those that are always forbidden; `labels`
    are those that it may set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pull_request: bool = True
    comment: bool = True
    report: bool = True
    labels: list[Annotated[str, Field(min_length=1, max_length=50)]] = []
    forbidden_paths: list[Annotated[str, Field(min_length=1, max_length=200)]] = []
    max_files: int = Field(100, ge=1)
    max_bytes: int = Field(1_000_000, ge=1, description="of all files that are new or changed")
    max_commits: int = Field(50, ge=1)


class JobGrant(BaseModel):
    """A Job, the repository that it is about, and the branch that is its own.

    Without a `branch` it has no workspace, and without a `repository` no place on GitHub. `ref` is
    the branch that it begins from, empty for the default one; `issue` the number of the issue or
    pull request that it is about; `approval_s` for how long its outputs wait for a user's approval,
    None where they need none.
    """

    model_config = ConfigDict(frozen=True)

    job_id: str = Field(min_length=1, max_length=63)
    task_id: str
    route: str
    repository: str = Field("", pattern=rf"^$|{REPOSITORY}")
    branch: str = Field("", pattern=r"^$|^agent/[a-z0-9][a-z0-9-]{0,80}$")
    ref: str = Field("", pattern=REF)
    issue: int | None = None
    resume: bool = Field(False, description="from the work that an earlier Job of the task left")
    rules: OutputRules = OutputRules()
    may_restart: bool = Field(False, description="with another pod, where one has ended")
    approval_s: int | None = None
    correlation_id: str = ""
    traceparent: str = ""


def prepare(key: str) -> None:
    """Load at a process's start what signs and checks grants, where there is a key for them."""
    if key:
        import jwt  # noqa: F401 - a fifth of a second, in which no request is answered


def signed(grant: JobGrant, key: str, now: datetime, ends: datetime) -> str:
    """The grant as a token that is good until `ends`."""
    import jwt  # not at each start of a process: it brings cryptography along

    times = {"iat": int(now.timestamp()), "exp": int(ends.timestamp())}
    claims = {"aud": AUDIENCE, **times, "grant": grant.model_dump(mode="json")}
    return jwt.encode(claims, key, algorithm="HS256")


def verified(token: str, key: str, now: datetime) -> JobGrant:
    """The grant of a token; `InvalidGrant` where it is not one of ours or is over."""
    import jwt

    # By our clock, which tests and the local Knative move.
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=["HS256"],
            audience=AUDIENCE,
            options={"verify_exp": False, "verify_iat": False, "require": ["exp", "aud"]},
        )
        grant = JobGrant.model_validate(claims["grant"])
    except (jwt.PyJWTError, KeyError, ValidationError) as error:
        raise InvalidGrant(type(error).__name__) from None
    if now.timestamp() >= claims["exp"]:
        raise InvalidGrant("it is over")
    return grant
