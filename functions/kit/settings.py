"""Settings: the only reader of the environment.

A settings class is a model whose fields are environment variables in lower case. Each field has a
description, so that the README's table is made from the code.
"""

from __future__ import annotations

import getpass
import json
import logging
import os
import re
from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar, Self
from urllib.parse import quote

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator

logger = logging.getLogger(__name__)


class BadSetting(ValueError):
    """A setting is missing or wrong; the text names the variable and the reason."""


class Settings(BaseModel):
    """Base of all settings. An empty variable counts as not set."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=str.upper,
        populate_by_name=True,
        defer_build=True,  # a process reads few of these classes, and starts often
    )

    # Variables that were renamed, the old name to the new one: read for one release.
    old_names: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> Self:
        """The settings of an environment; `BadSetting` where one is missing or wrong."""
        source = os.environ if environ is None else environ
        given = {name: value for name, value in source.items() if value}
        for old, new in cls.old_names.items():
            if old in given:
                logger.warning("setting %s is deprecated: use %s", old, new)
                given.setdefault(new, given[old])
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise BadSetting(
                "; ".join(": ".join((*_where(e["loc"]), e["msg"])) for e in error.errors())
            ) from None


def _where(loc: tuple[int | str, ...]) -> tuple[str, ...]:
    """The setting that an error is about; none where several do not go together."""
    return (f"setting {loc[0]}",) if loc else ()


class ProcessSettings(Settings):
    """What every function's process reads."""

    function_target: str = Field("", description="which function this process runs")
    function_source: str = Field(
        "", description="file of the function; found by the target's name when not set"
    )
    k_service: str = Field("", description="name of the Knative Service; set by Knative")
    server_host: str = Field("0.0.0.0", description="address to listen on")
    allowed_hosts: str = Field(
        "",
        description="host names that are answered, with commas between; none answers to any, as a "
        "route in front decides",
    )
    gateway_token: str = Field(
        "",
        repr=False,
        description="what requests must show in X-Gateway-Token: the local Knative's gateway does, "
        "and no other account of the machine; empty asks for none",
    )
    port: int = Field(
        8080,
        ge=1,
        le=65535,
        validation_alias=AliasChoices("PORT", "SERVER_PORT", "port"),
        description="port to listen on; PORT is set by Knative, SERVER_PORT serves without it",
    )
    log_level: str = Field(
        "INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="lowest level that is logged"
    )
    timeout_seconds: float = Field(
        60, gt=0, description="the Service's timeoutSeconds: how long a request may take and drain"
    )
    cluster_domain: str = Field(
        "cluster.local", min_length=1, description="what the cluster's own names end in"
    )
    k_sink: str = Field("", description="where events are published; set by a SinkBinding")
    k_ca_certs: str = Field(
        "", description="PEM of the authorities of an https K_SINK; set by a SinkBinding"
    )
    oidc_token_file: str = Field(
        "/oidc/token",
        description="the bearer token for K_SINK; mounted by a SinkBinding where Knative asks "
        "for one, and sent where it is there",
    )
    k_ce_overrides: str = Field("", description="extensions for each event; set by a SinkBinding")
    dead_letter_url: str = Field(
        "http://dead-letter.dsm.svc.cluster.local",
        description="where events go that the sink refuses for good",
    )
    head_timeout_s: float = Field(
        20, gt=0, description="how long the head of a request may take to arrive, seconds"
    )
    max_event_bytes: int = Field(
        32 * 1024 * 1024,
        ge=1024,
        description="largest body of a request, bytes; above the largest event of a broker",
    )
    clock_file: str = Field(
        "",
        description="file with the time of a virtual clock, `at S` or `offset S` (to the machine's "
        "time), in seconds; none is the machine's clock",
    )

    @field_validator("k_ce_overrides")
    @classmethod
    def _readable(cls, given: str) -> str:
        _extensions(given)
        return given

    @cached_property
    def overrides(self) -> Mapping[str, str]:
        """The extensions that K_CE_OVERRIDES asks for."""
        return _extensions(self.k_ce_overrides)


_ATTRIBUTE = re.compile(r"[a-z0-9]+")


def _extensions(text: str) -> dict[str, str]:
    try:
        extensions = json.loads(text or "{}").get("extensions") or {}
        found = {str(name): str(value) for name, value in extensions.items()}
    except (ValueError, AttributeError):
        raise ValueError('must be {"extensions": {...}}') from None
    if wrong := [name for name in found if not _ATTRIBUTE.fullmatch(name)]:
        raise ValueError(f"extension {wrong[0]!r} must be lower-case letters and digits")
    return found


class DatabaseSettings(Settings):
    """How a function reaches its PostgreSQL database, and how long that keeps what users did."""

    old_names: ClassVar[Mapping[str, str]] = {"DEAD_LETTER_AUDIT_DAYS": "ACTION_RETENTION_DAYS"}

    database_url: str = Field(
        "", description="postgresql://user:password@host:port/database; wins over POSTGRES_*"
    )
    database_session_url: str = Field(
        "",
        description="the same database by a way that keeps sessions, where DATABASE_URL leads to a "
        "pooler in transaction mode; one connection per process, for its claims",
    )
    postgres_host: str = Field("", description="host of the database, where DATABASE_URL is unset")
    postgres_port: int = Field(5432, ge=1, le=65535, description="port of the database")
    postgres_user: str = Field("postgres", description="user of the database")
    postgres_password: str = Field("", description="password of the database's user")
    postgres_db: str = Field("postgres", description="name of the database")
    database_pool_size: int = Field(
        8,
        ge=1,
        le=100,
        description="maximum of connections of one process, beside the one that holds its claims",
    )
    # An audit asks for a year.
    action_retention_days: int = Field(
        400, ge=1, description="how long it is on record which user did what and why, days"
    )

    @field_validator("database_url")
    @classmethod
    def _leads_somewhere(cls, given: str) -> str:
        scheme, _, rest = given.partition("://")
        if scheme not in ("postgresql", "postgres"):
            raise ValueError("must be postgresql://user:password@host:port/database")
        if not ("@" in rest or "user=" in rest or _own_name()):
            raise ValueError("names no user: postgresql://user:password@host:port/database")
        return given

    @property
    def session_url(self) -> str:
        """Where the database is for what lasts as long as a session."""
        return self.database_session_url or self.url

    @property
    def url(self) -> str:
        """Where the database is; empty where no setting names it."""
        if self.database_url or not self.postgres_host:
            return self.database_url
        user, password = quote(self.postgres_user, safe=""), quote(self.postgres_password, safe="")
        host = quote(self.postgres_host, safe="")
        return f"postgresql://{user}:{password}@{host}:{self.postgres_port}/{self.postgres_db}"


def _own_name() -> str:
    """The user that PostgreSQL takes a process for; a container's often has no name."""
    try:
        return os.environ.get("PGUSER") or getpass.getuser()
    except (KeyError, OSError):
        return ""


class HttpSettings(Settings):
    """How a process calls other services."""

    service_timeout_s: float = Field(10, gt=0, description="timeout of one call, seconds")
    service_connections: int = Field(64, ge=1, description="maximum of connections of one process")
    service_max_answer_bytes: int = Field(
        8 * 1024 * 1024,
        ge=1024,
        description="largest answer of a service, bytes: reading larger JSON would hold up all "
        "other requests of the process",
    )
    service_tokens: str = Field(
        "",
        description="folder with the bearer token for each Service that is called, in a file "
        "NAME.NAMESPACE; empty: none is sent",
    )
