"""webhook-receiver with GitHub on the other side, a launcher whose routes say what is wanted, and a
clock that a test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from functions.events.schedule import ScheduleDue
from functions.job_launcher.main import job_launcher
from functions.kit.context import Context
from functions.webhook_receiver.main import webhook_receiver
from tests.support import webhook_requests as make
from tests.support.cluster import Cluster
from tests.support.github_standin import GithubStandIn
from tests.support.job_world import shipped_routes

HOOK = "repos/o/r/hooks/1"


class Clock:
    """A time that a test moves."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def passes(self, **given: float) -> None:
        self.time += timedelta(**given)


@dataclass
class DeliveriesWorld:
    """All of it. `client` is of the receiver, from inside the cluster."""

    cluster: Cluster
    clock: Clock
    github: GithubStandIn
    client: httpx.AsyncClient
    environ: dict[str, str]

    def deploy(self, settings: Mapping[str, str]) -> Context:
        """A new process of the receiver, with other settings."""
        environ = {**self.environ, **settings}
        return self.cluster.deploy(webhook_receiver, environ, now=self.clock)

    async def minute(self, minutes: float = 5) -> None:
        """Time passes, and the tick of the minute comes."""
        self.clock.passes(minutes=minutes)
        due = ScheduleDue(schedule="webhook-relay", time=self.clock())
        answer = await self.cluster.tell("webhook-receiver", due)
        assert answer.status_code == 202, answer.text

    async def health(self) -> dict[str, Any]:
        answer = await self.client.get("/deliveries/health")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def emitted(self, type: str = "com.github.issue.labeled") -> list[str]:
        """The ids of the events of a type that the broker has."""
        return [message.id for message in self.cluster.sink.messages if message.type == type]


@asynccontextmanager
async def deliveries_world(
    cluster: Cluster,
    database: str,
    folder: Path,
    settings: Mapping[str, str] | None = None,
    hooks: tuple[str, ...] = (HOOK,),
) -> AsyncIterator[DeliveriesWorld]:
    """The receiver compares with GitHub by a token, for `hooks`; `settings` say otherwise."""
    clock = Clock()
    (folder / "routes.yaml").write_text(shipped_routes())
    cluster.deploy(job_launcher, {"ROUTES_FILE": str(folder / "routes.yaml")})
    async with (
        httpx.AsyncClient(transport=cluster, base_url="http://webhook-receiver") as receiver,
        cluster.client("webhook-receiver") as client,
    ):
        github = GithubStandIn(clock, receiver, make.GITHUB, hooks)
        cluster.add("api", github)
        by_token = {"GITHUB_TOKEN": github.token, "GITHUB_HOOKS": ",".join(hooks)}
        environ = {"DATABASE_URL": database, **make.SECRETS, **by_token}
        world = DeliveriesWorld(cluster, clock, github, client, environ)
        world.deploy(settings or {})
        yield world
    assert not github.document.violations, github.document.violations
