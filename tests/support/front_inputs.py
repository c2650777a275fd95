"""The ten inputs that reach this system most, each as its sender makes it, at their four fronts."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from functions.events.saga import StepAnswered
from functions.events.schedule import ScheduleDue
from tests.support import webhook_requests as make
from tests.support.repository import GOLDEN
from tests.support.saga_world import TENANT, register_tenant

FRONTS = ("project_service", "backlog_setup", "orchestrator", "webhook_receiver")
# What each front writes for what it takes.
COUNTED = {
    "webhook_receiver": ("inbox", "run", "delivery"),
    "orchestrator": (
        *("inbox", "run", "orchestration_run"),
        *("orchestration_template", "worker_registration"),
    ),
    "backlog_setup": ("inbox", "run", "tasks"),
    "project_service": ("projects",),
}
_NUMBERS = itertools.count(1)
_WITH_WORKERS: set[str] = set()  # orchestrators' URLs
Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Sent:
    """One request on the wire."""

    path: str
    headers: Headers
    body: bytes

    @property
    def head(self) -> bytes:
        lines = [f"POST {self.path} HTTP/1.1", "host: x", f"content-length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join((*lines, "", "")).encode()


@dataclass(frozen=True)
class Input:
    """A kind of request. `document` makes what no request had before, in a world in which it can
    be taken; `headers` go with any body, a proof of it among them. `get`: may its path be read?"""

    front: str
    path: str
    document: Callable[[httpx.AsyncClient], Awaitable[Any]]
    headers: Callable[[bytes], Headers]
    get: bool = False

    def of(self, body: bytes) -> Sent:
        return Sent(self.path, self.headers(body), body)

    async def new(self, client: httpx.AsyncClient) -> Sent:
        """A good one."""
        return self.of(json.dumps(await self.document(client)).encode())


def _of_type(content_type: str) -> Callable[[bytes], Headers]:
    return lambda body: [("content-type", content_type)]


def _example(type_: str, **attributes: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((GOLDEN / f"{type_}.json").read_text())
    return {**document, "id": f"n-{next(_NUMBERS)}", **attributes}


async def _tick(client: httpx.AsyncClient) -> Any:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=next(_NUMBERS))
    return _example(ScheduleDue.type, schedule="webhook-relay", time=f"{at:%Y-%m-%dT%H:%M:%SZ}")


async def _issue(client: httpx.AsyncClient) -> Any:
    return {**make.ISSUE, "issue": {**make.ISSUE["issue"], "number": next(_NUMBERS)}}


async def _alert(client: httpx.AsyncClient) -> Any:
    (alert,) = make.ALERT["alerts"]
    return {**make.ALERT, "alerts": [{**alert, "fingerprint": f"{next(_NUMBERS):x}"}]}


async def _pm_task(client: httpx.AsyncClient) -> Any:
    task: Any = make.TASK["task"]
    return {**make.TASK, "task": {**task, "id": f"t-{next(_NUMBERS)}"}}


async def _cli_task(client: httpx.AsyncClient) -> Any:
    return {
        "command": "create_task",
        "args": [f"Write {next(_NUMBERS)}"],
        "options": {"microservice": "docs"},
    }


async def _registration(client: httpx.AsyncClient) -> Any:
    return TENANT | {"orchName": f"another{next(_NUMBERS)}"}


async def _execution(client: httpx.AsyncClient) -> Any:
    await _with_workers(client)
    return {"tenant": {"id": f"t-{next(_NUMBERS)}"}}


async def _answer(client: httpx.AsyncClient) -> Any:
    await _with_workers(client)
    run = (await client.post("/api/orchestration/execute/tenantCreation", json={})).json()
    document = _example(StepAnswered.type, source="/functions/realm-service")
    document["data"] |= {
        **{"flowId": run["flowId"], "orchName": TENANT["orchName"], "stepName": "createRealm"},
        "workerName": "realm-service",
    }
    return document


async def _with_workers(client: httpx.AsyncClient) -> None:
    if str(client.base_url) in _WITH_WORKERS:
        return
    await register_tenant(client)
    _WITH_WORKERS.add(str(client.base_url))


async def _backlog(client: httpx.AsyncClient) -> Any:
    number = next(_NUMBERS)
    return {
        "project_id": f"P-{number}",
        "tasks": [{"id": f"T-{number}", "title": "t", "description": "d"}],
        "stories": [{"id": f"S-{number}", "description": "s", "tasks": [f"T-{number}"]}],
    }


async def _project(client: httpx.AsyncClient) -> Any:
    id = f"P-{next(_NUMBERS)}"
    return {"id": id, "name": "n", "description": "d", "status": "inactive"}


def _github(body: bytes) -> Headers:
    return list(make.from_github(body=body)[1].items())


def _grafana(body: bytes) -> Headers:
    return list(make.from_grafana(body=body)[1].items())


def _agent(source: str) -> Callable[[bytes], Headers]:
    return lambda body: list(make.from_agent(None, source, at=time.time(), body=body)[1].items())


_EVENT = _of_type("application/cloudevents+json")
_JSON = _of_type("application/json")
INPUTS = {
    "a tick": Input("webhook_receiver", "/", _tick, _EVENT),
    "an issue labelled": Input("webhook_receiver", "/webhook/github", _issue, _github),
    "an alert": Input("webhook_receiver", "/webhook/grafana", _alert, _grafana),
    "a PM task": Input("webhook_receiver", "/webhook/pm", _pm_task, _agent("pm")),
    "a CLI task": Input("webhook_receiver", "/webhook/cli", _cli_task, _agent("cli")),
    "a registration": Input("orchestrator", "/api/orchestration/register", _registration, _JSON),
    "an execution": Input(
        "orchestrator", "/api/orchestration/execute/tenantCreation", _execution, _JSON
    ),
    "a step's answer": Input("orchestrator", "/", _answer, _EVENT),
    "a backlog": Input("backlog_setup", "/", _backlog, _of_type("application/yaml")),
    "a project": Input("project_service", "/projects", _project, _JSON, get=True),
}
Served = Callable[..., AbstractAsyncContextManager[tuple[asyncio.subprocess.Process, str]]]


@dataclass(frozen=True)
class Process:
    """A front that serves at `url`, and what it has logged so far."""

    url: str
    logged: list[bytes]


@asynccontextmanager
async def serving_fronts(
    served: Served, stores: dict[str, str], **environ: str
) -> AsyncIterator[dict[str, Process]]:
    """A process of each front."""
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as reading:
        processes: dict[str, Process] = {}
        for name in FRONTS:
            target = {"FUNCTION_SOURCE": "", "FUNCTION_TARGET": name, "DATABASE_URL": stores[name]}
            if projects := processes.get("project_service"):
                target["PROJECT_SERVICE_URL"] = projects.url
            process, url = await stack.enter_async_context(
                served(**target, **environ, **make.SECRETS)
            )
            processes[name] = Process(url, [])
            for pipe in (process.stdout, process.stderr):
                reading.create_task(_read(pipe, processes[name].logged))
        yield processes
        await stack.aclose()  # their pipes end


async def _read(pipe: asyncio.StreamReader | None, lines: list[bytes]) -> None:
    """A pipe that is not read stops who writes into it."""
    assert pipe is not None
    while block := await pipe.read(65536):
        lines.append(block)
