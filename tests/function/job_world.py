"""job-launcher with what is around it: PostgreSQL, a Kubernetes API, and a broker's Triggers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import yaml

from functions.events.base import Event
from functions.events.job import JobCancelled, JobFailed, JobQueued, JobSucceeded
from functions.events.schedule import ScheduleDue
from functions.job_launcher.main import job_launcher
from functions.kit import wire
from knative.local.kube import KubeApi
from tests.cluster import Cluster, message_of
from tests.local.kube_server import make_kube, serving
from tests.support import eventually

ROOT = Path(__file__).resolve().parents[2]
# The types that the Trigger job-launcher-queue brings back.
QUEUE_TYPES = tuple(kind.type for kind in (JobQueued, JobSucceeded, JobFailed, JobCancelled))

PYTHON_ROUTES = """
version: 1
routes:
  - name: run
    match: {type: test.run}
    job:
      kind: execute
      task_id: "{{ data.task }}"
      service: "{{ data.service | default \\"shop\\" }}"
      group: "{{ data.group | default \\"\\" }}"
      group_limit: 1
      supersede: "{{ data.supersede | default \\"\\" }}"
      retries: "{{ data.retries | default \\"0\\" }}"
      ttl_seconds: "{{ data.ttl | default \\"600\\" }}"
      deadline_seconds: "{{ data.deadline | default \\"60\\" }}"
      command: [python, -c, "{{ data.code | default \\"print('done')\\" }}"]
      files: {task.md: "{{ data.task }}"}
  - name: never
    match: {type: test.ignored}
    ignore: nobody wants it
"""


def shipped_routes() -> str:
    """The routes in the base's ConfigMap."""
    path = ROOT / "knative/base/functions/job-launcher.yaml"
    documents = yaml.safe_load_all(path.read_text())
    return str(next(d for d in documents if d["kind"] == "ConfigMap")["data"]["routes.yaml"])


def asked(id: str | None = None, **data: Any) -> wire.Message:
    """A request that the routes above make a Job of."""
    body = json.dumps({"task": "t", **data}).encode()
    return wire.Message(id or str(uuid4()), "/tests", "test.run", body)


def run_python(code: str, id: str | None = None, **data: Any) -> wire.Message:
    """A request whose Job runs Python code."""
    return asked(id, code=code, **data)


@dataclass
class World:
    """`facts` are the launcher's events in the order of saying, redeliveries included."""

    cluster: Cluster
    kube: KubeApi | None
    api: httpx.AsyncClient
    now: datetime | None = None
    facts: list[wire.Message] = field(default_factory=list)
    follows: bool = True
    _seen: int = 0
    _minute: int = 0

    async def tell(self, event: Event | wire.Message) -> httpx.Response:
        """Deliver an event, and whatever of the launcher's facts comes back to it."""
        response = await self.cluster.tell("job-launcher", event)
        if response.status_code == 200:
            self.facts.append(wire.decode(response.headers.raw, response.content))
        self.facts += self.cluster.sink.messages[self._seen :]
        self._seen = len(self.cluster.sink.messages)
        await self._return_facts()
        return response

    async def _return_facts(self) -> None:
        for fact in list(self.facts):
            if fact.type in QUEUE_TYPES and fact.id not in self._returned:
                self._returned.add(fact.id)
                await self.tell(fact)

    def __post_init__(self) -> None:
        self._returned: set[str] = set()

    async def sweep(self) -> httpx.Response:
        """The next minute's sweep."""
        self._minute += 1
        at = datetime(2026, 1, 1, self._minute // 60, self._minute % 60, tzinfo=UTC)
        return await self.tell(ScheduleDue(schedule="job-sweep", time=at))

    def types(self) -> list[str]:
        """The facts' short names; each id once, as an inbox sees them."""
        first = {fact.id: fact for fact in self.facts}
        return [fact.type.split(".")[3] for fact in first.values()]

    def said(self, name: str) -> list[dict[str, Any]]:
        """The data of the facts of one short name."""
        return [json.loads(fact.data) for fact in self.facts if fact.type.split(".")[3] == name]

    async def jobs(self, **query: str) -> list[dict[str, Any]]:
        async with self.cluster.client("job-launcher") as client:
            answer = await client.get("/jobs", params=query)
            assert answer.status_code == 200, answer.text
            return list(answer.json()["jobs"])

    async def until(self, *types: str, sweeping: bool = False) -> None:
        """Wait until the facts are these, in this order."""

        async def are_said() -> bool:
            if sweeping:
                await self.sweep()
            return self.types() == list(types)

        try:
            await eventually(are_said, within_s=20, every_s=0.05)
        except AssertionError:
            raise AssertionError(f"said {self.types()}, not {list(types)}") from None


@asynccontextmanager
async def job_world(
    cluster: Cluster,
    database: str,
    folder: Path,
    *,
    routes: str = PYTHON_ROUTES,
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[World]:
    """The launcher on a local Kubernetes API, with an ApiServerSource between them."""
    worlds: list[World] = []
    waiting: asyncio.Queue[wire.Message] = asyncio.Queue()

    async def publish(source: object, headers: Mapping[str, str], body: bytes) -> bool:
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        waiting.put_nowait(wire.decode(raw, body))
        return True

    async def deliver() -> None:
        while True:
            message = await waiting.get()
            if worlds[0].follows:
                await worlds[0].tell(message)

    kube = make_kube(folder / "kube", publish=publish, images=["anthropic/claude-code"])
    events = yaml.safe_load_all((ROOT / "knative/jobs/events.yaml").read_text())
    kube.apply(next(d for d in events if d["kind"] == "ApiServerSource"))
    async with serving(kube) as url, httpx.AsyncClient(base_url=url, trust_env=False) as api:
        deploy(cluster, database, folder, url, routes=routes, environ=environ)
        worlds.append(World(cluster, kube, api))
        task = asyncio.create_task(deliver())
        try:
            yield worlds[0]
        finally:
            task.cancel()


def deploy(
    cluster: Cluster,
    database: str,
    folder: Path,
    url: str,
    *,
    routes: str = PYTHON_ROUTES,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Serve the launcher for a Kubernetes API at `url`."""
    (folder / "routes.yaml").write_text(routes)
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (folder / "kubeconfig").write_text(json.dumps(config))
    cluster.deploy(
        job_launcher,
        {
            "DATABASE_URL": database,
            "ROUTES_FILE": str(folder / "routes.yaml"),
            "KUBECONFIG": str(folder / "kubeconfig"),
            "KUBERNETES_NAMESPACE": "agents",
            "KUBERNETES_TIMEOUT_S": "3",
            "JOB_IMAGE": "anthropic/claude-code",
            **(environ or {}),
        },
    )


__all__ = ["World", "asked", "deploy", "job_world", "message_of", "run_python", "shipped_routes"]
