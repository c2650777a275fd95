"""What comes in small pieces, in halves, or with another method: ten inputs at their four fronts.

Each front is a real process. No sender holds a connection for longer than its deadline, none that
leaves has changed anything, and everybody else is answered meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import asyncpg
import httpx
import pytest

from functions.events.saga import StepAnswered
from functions.events.schedule import ScheduleDue
from functions.kit.contract import upload
from functions.kit.durable import migrate
from functions.kit.process.bounded_head import MAX_HEAD_BYTES
from tests.conftest import MakeMigrated
from tests.function.contract.test_serve import served
from tests.support import webhook_requests as make
from tests.support.repository import GOLDEN
from tests.support.saga_world import TENANT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# Of every process here, in seconds; a webhook's body has upload.DEADLINE_S.
HEAD_S, BODY_S = 2.0, 1.0
SLACK_S = 20.0  # of a machine that does much else


@dataclass(frozen=True)
class Input:
    """One request as its sender makes it; `get`: may its path be read?"""

    front: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    get: bool = False

    @property
    def head(self) -> bytes:
        lines = [f"POST {self.path} HTTP/1.1", "host: x", f"content-length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join((*lines, "", "")).encode()


def event(front: str, type_: str, **attributes: str) -> Input:
    example = json.loads((GOLDEN / f"{type_}.json").read_text()) | attributes
    kind = [("content-type", "application/cloudevents+json")]
    return Input(front, "/", kind, json.dumps(example).encode())


def delivery(made: tuple[str, dict[str, str], bytes]) -> Input:
    path, headers, body = made
    return Input("webhook_receiver", path, list(headers.items()), body)


def api(path: str, body: object) -> Input:
    kind = [("content-type", "application/json")]
    return Input("orchestrator", f"/api/orchestration/{path}", kind, json.dumps(body).encode())


YAML = [("content-type", "application/yaml")]
CLI = {"command": "create_task", "args": ["Write it"], "options": {"microservice": "docs"}}
PROJECT = {"id": "P", "name": "n", "description": "", "status": "inactive"}
INPUTS = {
    "a tick": event("webhook_receiver", ScheduleDue.type, schedule="webhook-relay"),
    "an issue labelled": delivery(make.from_github()),
    "an alert": delivery(make.from_grafana()),
    "a PM task": delivery(make.from_agent(at=time.time())),
    "a CLI task": delivery(make.from_agent(CLI, "cli", at=time.time())),
    "a registration": api("register", TENANT | {"orchName": "another"}),
    "an execution": api("execute/tenantCreation", {}),
    "a step's answer": event("orchestrator", StepAnswered.type),
    "a backlog": Input(
        "backlog_setup",
        "/",
        [("content-type", "application/yaml")],
        b"tasks: [{id: T-1, title: t}]\n",
    ),
    "a project": Input(
        "project_service",
        "/projects",
        [("content-type", "application/json")],
        json.dumps(PROJECT).encode(),
        get=True,
    ),
}
FRONTS = ("webhook_receiver", "orchestrator", "backlog_setup", "project_service")


@pytest.fixture(scope="module")
async def stores(make_migrated: MakeMigrated) -> dict[str, str]:
    """The database of each front."""
    functions = await make_migrated(*migrate.owners(), "backlog_service")
    own = {"project_service": await make_migrated("project_service")}
    return dict.fromkeys(FRONTS, functions) | own


@pytest.fixture(scope="module")
async def fronts(stores: dict[str, str]) -> AsyncIterator[dict[str, str]]:
    """The URL of each front."""
    short = {"HEAD_TIMEOUT_S": f"{HEAD_S}", "BODY_TIMEOUT_S": f"{BODY_S}", "TIMEOUT_SECONDS": "30"}
    async with AsyncExitStack() as stack:
        urls = {}
        for name in FRONTS:
            environ = {"FUNCTION_SOURCE": "", "FUNCTION_TARGET": name}
            environ |= {"DATABASE_URL": stores[name]}
            process = served(**environ, **short, **make.SECRETS)
            _, urls[name] = await stack.enter_async_context(process)
        yield urls


async def sent(url: str, *parts: bytes, trickle: bool = False, eof: bool = False) -> bytes:
    """The first line of the answer to what is sent: parts, then a byte now and then, or no more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
    answer = asyncio.create_task(reader.readline())
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if eof:
            writer.write_eof()
        async with asyncio.timeout(upload.DEADLINE_S + SLACK_S):
            while not answer.done():
                if trickle:
                    writer.write(b"x")
                await asyncio.wait([answer], timeout=0.5)
        return answer.result()
    except ConnectionError:
        return b""
    finally:
        answer.cancel()
        writer.close()


async def is_up(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        assert (await client.get(f"{url}/health")).status_code == 200


@pytest.mark.parametrize("front", FRONTS)
async def test_a_head_that_does_not_end_is_given_up(fronts: dict[str, str], front: str) -> None:
    url = fronts[front]
    starts = (b"", b"P", b"POST / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nhost: x\r\nx-a: ")
    waiting = [asyncio.create_task(sent(url, start)) for start in starts * 20]
    waiting += [asyncio.create_task(sent(url, starts[-1], trickle=True)) for _ in range(20)]
    await is_up(url)
    answers = await asyncio.gather(*waiting)
    assert {line.split()[1] for line in answers} == {b"408"}
    await is_up(url)


@pytest.mark.parametrize("front", FRONTS)
async def test_a_head_without_bounds_is_refused(fronts: dict[str, str], front: str) -> None:
    endless = b"GET / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " + b"x" * (4 * MAX_HEAD_BYTES)
    assert (await sent(fronts[front], endless)).split()[1:2] in ([b"431"], [])
    many = b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * MAX_HEAD_BYTES
    assert (await sent(fronts[front], many)).split()[1:2] in ([b"431"], [])
    await is_up(fronts[front])


async def test_a_body_that_does_not_end_is_given_up(fronts: dict[str, str]) -> None:
    async def half(one: Input) -> bytes:
        whole = one.head.replace(b"content-length: ", b"content-length: 9")
        return await sent(fronts[one.front], whole, one.body[: len(one.body) // 2], trickle=True)

    waiting = {name: asyncio.create_task(half(one)) for name, one in INPUTS.items()}
    for url in fronts.values():
        await is_up(url)
    answers = {name: (await task).split()[1] for name, task in waiting.items()}
    assert answers == dict.fromkeys(INPUTS, b"408")


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


async def rows(database: str, front: str) -> dict[str, int]:
    db = await asyncpg.connect(database)
    try:
        return {t: await db.fetchval(f"SELECT count(*) FROM {t}") for t in COUNTED[front]}
    finally:
        await db.close()


async def prepared(one: Input, name: str, url: str) -> Input:
    """The input, in a world in which it can be taken."""
    if name not in ("an execution", "a step's answer"):
        return one
    worker = {"orchName": TENANT["orchName"], "as": "worker"}
    async with httpx.AsyncClient(base_url=f"{url}/api/orchestration", trust_env=False) as client:
        for service, body in (
            ("tenant-service", TENANT),
            ("realm-service", worker | {"steps": [{"name": "createRealm"}]}),
            ("client-service", worker | {"steps": [{"name": "createClient"}]}),
        ):
            answer = await client.post("/register", json=body, headers={"X-Service-Name": service})
            assert answer.status_code in (200, 202), answer.text
        if name == "an execution":
            return one
        run = (await client.post("/execute/tenantCreation", json={})).json()
    document = json.loads(one.body)
    document["source"] = "/functions/realm-service"
    document["data"] |= {
        **{"flowId": run["flowId"], "orchName": TENANT["orchName"], "stepName": "createRealm"},
        "workerName": "realm-service",
    }
    return replace(one, body=json.dumps(document).encode())


@pytest.mark.parametrize("name", INPUTS)
async def test_half_a_request_and_other_methods_change_nothing(
    fronts: dict[str, str], stores: dict[str, str], name: str
) -> None:
    url, database = fronts[INPUTS[name].front], stores[INPUTS[name].front]
    one = await prepared(INPUTS[name], name, url)
    before = await rows(database, one.front)
    for part in (0, len(one.body) // 2, len(one.body) - 1):
        assert b" 2" not in await sent(url, one.head, one.body[:part], eof=True)
        assert await rows(database, one.front) == before, f"{part} bytes of {len(one.body)}"
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        for method in ("HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"):
            answer = await client.request(method, one.path, headers=one.headers)
            assert answer.status_code == (200 if method == "HEAD" and one.get else 405), method
            assert len(answer.content) <= 512
            if method == "HEAD":
                assert answer.content == b""
        assert await rows(database, one.front) == before
        whole = await client.post(one.path, headers=one.headers, content=one.body)
    assert whole.is_success, whole.text
    assert '"repeated":true' not in whole.text
    assert await rows(database, one.front) != before, "a whole one is seen in what is counted"
