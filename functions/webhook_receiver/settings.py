"""The receiver's settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property

from pydantic import Field, field_validator

from functions.events.webhook import TEAM
from functions.kit.settings import BadSetting, Settings
from functions.webhook_receiver.senders import standard_webhooks

SOURCES = ("github", "grafana", "pm", "cli")


class ReceiverSettings(Settings):
    """Secrets are separated by commas or newlines; several are valid at once, for rotation."""

    github_webhook_secrets: str = Field(
        "", repr=False, description="secrets of GitHub's webhooks; none refuses them"
    )
    grafana_webhook_secrets: str = Field(
        "", repr=False, description="HMAC secrets of Grafana's contact points; none refuses them"
    )
    pm_webhook_secrets: str = Field(
        "", repr=False, description="whsec_... secrets of PM agents; none refuses them"
    )
    cli_webhook_secrets: str = Field(
        "", repr=False, description="whsec_... secrets of the command line; none refuses it"
    )
    deliveries_tokens: str = Field(
        "", repr=False, description="bearer tokens that may read and redeliver deliveries"
    )
    grafana_signature_header: str = Field(
        "X-Grafana-Alerting-Signature", min_length=1, description="as set in the contact point"
    )
    grafana_timestamp_header: str = Field(
        "X-Grafana-Alerting-Timestamp", min_length=1, description="as set in the contact point"
    )
    allow_unsigned: bool = Field(
        False, description="accept unproven requests of sources without a secret; never in public"
    )
    max_body_bytes: int = Field(
        25 * 1024 * 1024, ge=1024, description="largest body, bytes; GitHub's own limit is 25 MiB"
    )
    delivery_retention_days: int = Field(
        30, ge=1, description="how long published deliveries are kept, and repeats known, days"
    )
    agent_types: str = Field(
        "claude", description="agents that a route serves, with commas; a task for another is 400"
    )
    actor_event_types: str = Field(
        "com.github.issue.labeled,com.github.pull_request.labeled",
        description="types of events, with commas, whose sender's permission is asked of GitHub, "
        "beside commands in comments",
    )
    actor_teams: str = Field(
        "",
        description="teams that routes name, org/slug with commas: GitHub is asked whether the "
        "sender is in them; the App needs Members: read-only",
    )
    job_launcher_url: str = Field(
        "http://job-launcher.dsm.svc.cluster.local", description="base URL of job-launcher"
    )

    @field_validator("actor_teams")
    @classmethod
    def _are_teams(cls, text: str) -> str:
        for team in _split(text):
            if not re.fullmatch(TEAM, team):
                raise ValueError(f"{team[:60]!r} is no team such as acme/maintainers")
        return text

    @cached_property
    def secrets(self) -> Mapping[str, tuple[bytes, ...]]:
        """The keys of each source, ready for HMAC; empty where it is not configured."""
        return {
            "github": tuple(text.encode() for text in _split(self.github_webhook_secrets)),
            "grafana": tuple(text.encode() for text in _split(self.grafana_webhook_secrets)),
            "pm": _keys("PM_WEBHOOK_SECRETS", self.pm_webhook_secrets),
            "cli": _keys("CLI_WEBHOOK_SECRETS", self.cli_webhook_secrets),
        }

    @cached_property
    def tokens(self) -> tuple[bytes, ...]:
        return tuple(text.encode() for text in _split(self.deliveries_tokens))

    @cached_property
    def agents(self) -> tuple[str, ...]:
        return tuple(_split(self.agent_types))

    @cached_property
    def asked_types(self) -> tuple[str, ...]:
        return tuple(_split(self.actor_event_types))

    @cached_property
    def teams(self) -> tuple[str, ...]:
        """In lower case, as GitHub compares them."""
        return tuple(team.lower() for team in _split(self.actor_teams))

    def sources(self) -> Mapping[str, str]:
        """Each source as `configured`, `refused` or `unsigned`."""
        otherwise = "unsigned" if self.allow_unsigned else "refused"
        return {name: "configured" if self.secrets[name] else otherwise for name in SOURCES}


def _split(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"[,\n]", text) if part.strip()]


def _keys(name: str, text: str) -> tuple[bytes, ...]:
    try:
        return tuple(standard_webhooks.key(part) for part in _split(text))
    except ValueError as error:
        raise BadSetting(f"setting {name}: {error}") from None
