"""job-launcher with what is around it: PostgreSQL, a Kubernetes API, and a broker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import yaml
from starlette.responses import JSONResponse, Response

from functions.events.base import Event
from functions.events.schedule import ScheduleDue
from functions.job_launcher.facts import EMITS
from functions.job_launcher.main import job_launcher
from functions.kit import cloudevents
from functions.kit.context import Context
from functions.kit.durable.locks import JOB_QUEUE
from knative.local.kube import KubeApi
from knative.local.manifests.images import Program
from tests.support import eventually
from tests.support.cluster import Cluster, message_of
from tests.support.kube_server import ENTRYPOINT, make_kube, serving
from tests.support.kubeconfig import kubeconfig
from tests.support.waiting import TIMEOUT_S

FACTS = {kind.type for kind in EMITS}
ROOT = Path(__file__).resolve().parents[2]

# A sidecar is this checkout's, and what it posts goes to a server of the test.
_OF_PODS = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}

PYTHON_ROUTES = """
version: 1
routes:
  - name: run
    match: {type: test.run}
    job:
      kind: execute
      task_id: "{{ data.task }}"
      service: "{{ data.service | default(\\"shop\\") }}"
      group: "{{ data.group | default(\\"\\") }}"
      group_limit: 1
      supersede: "{{ data.supersede | default(\\"\\") }}"
      retries: "{{ data.retries | default(\\"0\\") }}"
      ttl_seconds: "{{ data.ttl | default(\\"600\\") }}"
      deadline_seconds: "{{ data.deadline | default(\\"60\\") }}"
      command: [python, -c, "{{ data.code | default(\\"print('done')\\") }}"]
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


def asked(id: str | None = None, **data: Any) -> cloudevents.Message:
    """A request that the routes above make a Job of."""
    body = json.dumps({"task": "t", **data}).encode()
    return cloudevents.Message(id or str(uuid4()), "/tests", "test.run", body)


def run_python(code: str, id: str | None = None, **data: Any) -> cloudevents.Message:
    """A request whose Job runs Python code."""
    return asked(id, code=code, **data)


async def takes_outputs(scope: Any, receive: Any, send: Any) -> None:
    """agent-outputs, as far as a sidecar knows it."""
    await JSONResponse({}, 202)(scope, receive, send)


@dataclass
class World:
    """`facts` are the launcher's events as the broker has them, in the order of their arrival."""

    cluster: Cluster
    kube: KubeApi | None
    api: httpx.AsyncClient
    _minute: int = 0

    @property
    def facts(self) -> list[cloudevents.Message]:
        return [m for m in self.cluster.sink.messages if m.type in FACTS]

    async def tell(self, event: Event | cloudevents.Message) -> httpx.Response:
        """Deliver an event, and wait for what the launcher then does."""
        return await self.cluster.tell("job-launcher", event)

    async def sweep(self) -> httpx.Response:
        """The next minute's sweep."""
        self._minute += 1
        at = datetime(2026, 1, 1, self._minute // 60, self._minute % 60, tzinfo=UTC)
        return await self.tell(ScheduleDue(schedule="job-sweep", time=at))

    def types(self) -> list[str]:
        """The facts' short names; each id once, as an inbox sees them."""
        first = {fact.id: fact for fact in self.facts}
        return [fact.type.split(".")[3] for fact in first.values()]

    def emitted(self, name: str) -> list[dict[str, Any]]:
        """The data of the facts of one short name."""
        return [json.loads(fact.data) for fact in self.facts if fact.type.split(".")[3] == name]

    async def jobs(self, **query: str) -> list[dict[str, Any]]:
        async with self.cluster.client("job-launcher") as client:
            answer = await client.get("/jobs", params=query)
            assert answer.status_code == 200, answer.text
            return list(answer.json()["jobs"])

    async def until(self, *types: str, sweeping: bool = False) -> None:
        """Wait until the facts are these, in this order."""

        async def are_reported() -> bool:
            if sweeping:
                await self.sweep()
            return self.types() == list(types)

        try:
            await eventually(are_reported, every_s=0.05)
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
    may_watch: bool = True,
    late: Late | None = None,
    now: Callable[[], datetime] | None = None,
) -> AsyncIterator[World]:
    """The launcher on a local Kubernetes API, which it may have no right to watch, or whose answers
    are `late`."""
    programs = {"anthropic/claude-code": Program(ENTRYPOINT, folder / "kube")}
    kube = make_kube(folder / "kube", programs=programs, environment=lambda: _OF_PODS)
    app: Any = kube if may_watch else _without_watches(kube)
    if late is not None:
        app = _answering_late(kube, late)
    async with (
        serving(kube, app) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=60, verify=False) as api,
    ):
        deploy(cluster, database, folder, url, routes=routes, environ=environ, now=now)
        yield World(cluster, kube, api)


@dataclass(frozen=True)
class Late:
    """Answers about Jobs to a method come after a watch has reported what contains `reported`."""

    method: str
    reported: bytes


def _answering_late(kube: KubeApi, late: Late) -> Any:
    is_reported = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def watch(message: Any) -> None:
            await send(message)
            if late.reported in message.get("body", b""):
                is_reported.set()

        async def answer(message: Any) -> None:
            async with asyncio.timeout(TIMEOUT_S):
                await is_reported.wait()
            await send(message)

        is_late = scope.get("method") == late.method and "/jobs" in scope["path"]
        await kube(scope, receive, answer if is_late else watch)

    return app


def _without_watches(kube: KubeApi) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if b"watch=true" in scope.get("query_string", b""):
            await Response("may not watch", 403)(scope, receive, send)
        else:
            await kube(scope, receive, send)

    return app


@asynccontextmanager
async def queue_locked(database: str) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    """Another process is at work on the order of the queue: no other takes anything from it.

    Yields a question: how many wait?
    """
    other = await asyncpg.connect(database)

    async def waiting() -> int:
        found: int = await other.fetchval(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        )
        return found

    try:
        async with other.transaction():
            await other.execute("SELECT pg_advisory_xact_lock($1)", JOB_QUEUE.key())
            yield waiting
    finally:
        await other.close()


def deploy(
    cluster: Cluster,
    database: str,
    folder: Path,
    url: str,
    *,
    routes: str = PYTHON_ROUTES,
    environ: Mapping[str, str] | None = None,
    now: Callable[[], datetime] | None = None,
) -> Context:
    """Serve the launcher for a Kubernetes API at `url`."""
    (folder / "routes.yaml").write_text(routes)
    return cluster.deploy(
        job_launcher,
        {
            "DATABASE_URL": database,
            "ROUTES_FILE": str(folder / "routes.yaml"),
            "KUBECONFIG": kubeconfig(folder, url),
            "KUBERNETES_NAMESPACE": "agents",
            "KUBERNETES_TIMEOUT_S": "3",
            "JOB_IMAGE": "anthropic/claude-code",
            **(environ or {}),
        },
        now=now,
    )


__all__ = [
    "World",
    "asked",
    "deploy",
    "job_world",
    "message_of",
    "queue_locked",
    "run_python",
    "shipped_routes",
]
