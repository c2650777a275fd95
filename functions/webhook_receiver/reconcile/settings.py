"""What the receiver compares its ledger with."""

from __future__ import annotations

import re
from functools import cached_property

from pydantic import Field, field_validator

from functions.kit.settings import Settings

APP = "app"
_HOOK = re.compile(r"app|orgs/[\w.-]+/hooks/\d+|repos/[\w.-]+/[\w.-]+/hooks/\d+", re.ASCII)


class ReconcileSettings(Settings):
    """Which hooks of GitHub are compared, for what, and how long GitHub keeps deliveries."""

    github_hooks: str = Field(
        "",
        description="hooks whose deliveries are compared with the ledger, with commas: `app`, "
        "`orgs/ORG/hooks/ID`, `repos/OWNER/REPO/hooks/ID`",
    )
    github_wanted_types: str = Field(
        "",
        description="types of events that are fetched where they are missing, with commas, `*` at "
        "the end for any; beside those that job-launcher's routes take",
    )
    github_keeps_days: int = Field(
        3, ge=1, description="how long GitHub keeps deliveries, days; a server 7"
    )

    @field_validator("github_hooks")
    @classmethod
    def _known(cls, given: str) -> str:
        if wrong := [hook for hook in _split(given) if not _HOOK.fullmatch(hook)]:
            raise ValueError(f"{wrong[0]!r} is not app, orgs/.../hooks/ID or repos/.../hooks/ID")
        return given

    @cached_property
    def hooks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_split(self.github_hooks)))

    @cached_property
    def wanted_types(self) -> tuple[str, ...]:
        return tuple(_split(self.github_wanted_types))


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
