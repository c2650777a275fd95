"""What the receiver compares its ledger with."""

from __future__ import annotations

import re
from functools import cached_property

from pydantic import Field, field_validator

from functions.kit.clients.github_app import GithubSettings
from functions.kit.context import Context
from functions.kit.settings import Settings

APP = "app"
_HOOK = re.compile(r"app|orgs/[\w.-]+/hooks/\d+|repos/[\w.-]+/[\w.-]+/hooks/\d+", re.ASCII)
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


class ReconcileSettings(Settings):
    """What of GitHub and of Grafana is compared with the ledger."""

    github_hooks: str = Field(
        "",
        description="hooks whose deliveries are compared with the ledger, with commas: `app`, "
        "`orgs/ORG/hooks/ID`, `repos/OWNER/REPO/hooks/ID`",
    )
    github_repositories: str = Field(
        "",
        description="repositories, OWNER/REPO with commas, whose open issues are compared with the "
        "ledger, beside those of GITHUB_HOOKS",
    )
    github_event_types: str = Field(
        "",
        description="types of events that are fetched where they are missing, with commas, `*` at "
        "the end for any; beside those that job-launcher's routes take",
    )
    github_delivery_retention_days: int = Field(
        3, ge=1, description="how long GitHub keeps deliveries, days; a server 7"
    )

    grafana_url: str = Field(
        "", description="Grafana, whose alerts are compared with the ledger; none where unset"
    )
    grafana_token: str = Field(
        "", repr=False, description="a service account's token that may read alert instances"
    )
    grafana_contact_point: str = Field(
        "", description="the contact point that notifies the receiver; any alert counts where unset"
    )

    @field_validator("github_hooks")
    @classmethod
    def _known(cls, given: str) -> str:
        if wrong := [hook for hook in _split(given) if not _HOOK.fullmatch(hook)]:
            raise ValueError(f"{wrong[0]!r} is not app, orgs/.../hooks/ID or repos/.../hooks/ID")
        return given

    @field_validator("github_repositories")
    @classmethod
    def _named(cls, given: str) -> str:
        if wrong := [one for one in _split(given) if not _REPOSITORY.fullmatch(one)]:
            raise ValueError(f"{wrong[0]!r} is not OWNER/REPO")
        return given

    @cached_property
    def hooks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_split(self.github_hooks)))

    @cached_property
    def repositories(self) -> tuple[str, ...]:
        """Those that are named, and those of hooks."""
        of_hooks = (hook.split("/") for hook in self.hooks)
        found = [f"{parts[1]}/{parts[2]}" for parts in of_hooks if parts[0] == "repos"]
        return tuple(dict.fromkeys([*_split(self.github_repositories), *found]))

    @cached_property
    def wanted_types(self) -> tuple[str, ...]:
        return tuple(_split(self.github_event_types))


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def compares_hooks(ctx: Context) -> bool:
    """May GitHub be asked for the deliveries of any hook?"""
    return bool(ctx.settings(ReconcileSettings).hooks) and ctx.settings(GithubSettings).can_ask


def compares_issues(ctx: Context) -> bool:
    """May GitHub be asked for the issues of any repository?"""
    repositories = ctx.settings(ReconcileSettings).repositories
    return bool(repositories) and ctx.settings(GithubSettings).can_ask


def compares_alerts(ctx: Context) -> bool:
    """May Grafana be asked for its alerts?"""
    settings = ctx.settings(ReconcileSettings)
    return bool(settings.grafana_url and settings.grafana_token)
