"""The scheduler in a cluster: PingSources of a Kubernetes API, a clock, and who works when due."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from functions.events.schedule import ScheduleDue, TickDue
from functions.kit import cloudevents
from functions.kit.context import Context
from functions.kit.contract import function
from functions.kit.errors import PermanentError
from functions.schedule_policy import PREFIX
from functions.scheduler.main import scheduler
from tests.support.cluster import Cluster
from tests.support.kubernetes_peer import KubePeer, Say, kube_peer

MADE = "2026-03-01T00:00:00Z"
STATUS = {"subresource": "status", "fieldsV1": {"f:status": {}}}


@dataclass
class Work:
    """What the worker did, by nominal time, and what it fails on."""

    done: list[str] = field(default_factory=list)
    fails: bool = False


WORK = Work()


@function(schedules=["*"], inbox=True)
async def worker(event: ScheduleDue, ctx: Context) -> None:
    if WORK.fails:
        raise PermanentError("the disk is full")
    WORK.done.append(f"{event.schedule}@{event.nominal:%Y-%m-%d %H:%M}")


@dataclass
class World:
    """One ledger, and as many schedulers as a test deploys."""

    cluster: Cluster
    peer: KubePeer
    database: str
    now: datetime
    environ: dict[str, str]
    ctx: Context = field(init=False)
    pings: dict[str, dict[str, Any]] = field(default_factory=dict)
    delivered: int = 0

    def ping(self, name: str, expression: str, zone: str = "Etc/UTC", **policy: str) -> None:
        """Make a PingSource, or change it; `policy` names annotations with underscores."""
        annotations = {f"{PREFIX}{k.replace('_', '-')}": text for k, text in policy.items()}
        self.pings[name] = {
            "metadata": {
                "name": name,
                "namespace": "dsm",
                "creationTimestamp": MADE,
                "annotations": annotations,
                "managedFields": [
                    {"manager": "kubectl", "time": MADE, "fieldsV1": {"f:spec": {}}},
                    {"manager": "controller", "time": "2027-01-01T00:00:00Z", **STATUS},
                ],
            },
            "spec": {
                "schedule": expression,
                "timezone": zone,
                "data": '{"project_id": "P"}',
                "ceOverrides": {"extensions": {"schedule": name}},
            },
        }

    def changed(self, name: str, at: datetime) -> None:
        """Let Kubernetes say when a PingSource was changed."""
        owner = self.pings[name]["metadata"]["managedFields"][0]
        owner["time"] = at.strftime("%Y-%m-%dT%H:%M:%SZ")

    def deploy(self) -> Context:
        """A scheduler of its own process, over the same database."""
        self.ctx = self.cluster.deploy(scheduler, self.environ, now=lambda: self.now)
        return self.ctx

    async def wake(
        self, at: datetime, schedule: str = "scheduler", **emitted: Any
    ) -> httpx.Response:
        """Let the scheduler's own schedule, or another, tick at a time."""
        self.now = at
        response = await self.tick(ScheduleDue(schedule=schedule, time=at, **emitted))
        assert response.status_code == 202, response.text
        return response

    async def tick(self, event: ScheduleDue) -> httpx.Response:
        return await self.cluster.tell("scheduler", event)

    def due(self) -> list[cloudevents.Message]:
        """What the scheduler has sent."""
        return [m for m in self.cluster.sink.messages if m.type == TickDue.type]

    async def work(self) -> None:
        """Deliver what was sent since the last time."""
        sent, self.delivered = self.due()[self.delivered :], len(self.due())
        for message in sent:
            await self.cluster.tell("worker", message)

    async def rows(self, schedule: str) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.database)
        try:
            found: list[asyncpg.Record] = await connection.fetch(
                "SELECT * FROM tick WHERE schedule = $1 ORDER BY nominal", schedule
            )
            return found
        finally:
            await connection.close()

    async def states(self, schedule: str) -> dict[str, str]:
        rows = await self.rows(schedule)
        return {f"{row['nominal']:%m-%d %H:%M}": row["state"] for row in rows}

    def listed(self, request: str, body: Any) -> Say:
        return Say(200, body={"items": list(self.pings.values()), "metadata": {}})


@asynccontextmanager
async def schedule_world(
    cluster: Cluster, database: str, folder: Path, now: datetime
) -> AsyncIterator[World]:
    WORK.done.clear()
    WORK.fails = False
    async with kube_peer(folder, Say(500)) as peer:
        environ = {
            "DATABASE_URL": database,
            "KUBECONFIG": peer.kubeconfig,
            "KUBERNETES_NAMESPACE": "dsm",
            "KUBERNETES_TIMEOUT_S": "5",
        }
        world = World(cluster, peer, database, now, environ)
        peer.judge = world.listed
        world.deploy()
        cluster.deploy(worker, environ, now=lambda: world.now)
        yield world
