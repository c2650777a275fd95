"""No stranger fills a process's memory: every target ends a body at its limit."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import threading
from typing import Any
from urllib.parse import quote_plus

import httpx
import pytest
from starlette.routing import Route

from functions.webhook_receiver import intake
from tests.function.contract.test_serve import served
from tests.support import webhook_requests as make
from tests.support.cluster import Cluster, assert_problem
from tests.support.loop_load import serving_others
from tests.support.repository import all_folders, target

LIMIT = 4096
TARGETS = ["sprint_report", "webhook_receiver", "project_service"]


async def begun(url: str, path: str, size: int) -> bytes:
    """The first line of the answer to a body of unknown length, of which `size` bytes came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
    writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n".encode())
    writer.write(b"Content-Type: application/json\r\n\r\n")
    writer.write(f"{size:x}\r\n".encode() + b"x" * size + b"\r\n")
    await writer.drain()
    try:
        async with asyncio.timeout(60):
            return await reader.readline()
    finally:
        writer.close()


@pytest.mark.parametrize("target", TARGETS)
async def test_a_body_over_the_limit_is_413(target: str) -> None:
    environ = {
        "FUNCTION_SOURCE": "",
        "FUNCTION_TARGET": target,
        "MAX_EVENT_BYTES": str(LIMIT),
        "MAX_BODY_BYTES": str(LIMIT),
    }
    path = "/projects" if target == "project_service" else "/"
    async with (
        served("/health/live", **environ) as (_, url),
        httpx.AsyncClient(trust_env=False, timeout=60) as client,
    ):
        declared = await client.post(url + path, content=b"x" * (LIMIT + 1))
        assert declared.status_code == 413
        assert_problem(declared)
        assert b" 413 " in await begun(url, path, LIMIT + 1), "it does not wait for the rest"


class Sender:
    """POSTs to an application a body of so many pieces, then nothing more: not even its end."""

    def __init__(self, cluster: Cluster, name: str, path: str, pieces: int) -> None:
        self.taken = 0
        self._pieces = pieces
        self._sent: list[dict[str, Any]] = []
        self._app = cluster.apps[name.replace("_", "-")]
        self._scope = {
            **{"type": "http", "method": "POST", "path": path, "raw_path": path.encode()},
            **{"query_string": b"", "headers": [(b"x-user", b"ada")], "scheme": "http"},
            **{"http_version": "1.1", "client": None, "server": ("x", 80), "root_path": ""},
        }

    async def status(self) -> int:
        async with asyncio.timeout(60):
            await self._app(self._scope, self._receive, self._send)
        return int(self._sent[0]["status"])

    async def _receive(self) -> dict[str, Any]:
        if self.taken == self._pieces:
            await asyncio.Event().wait()
        self.taken += 1
        return {"type": "http.request", "body": b" " * (LIMIT // 2 + 1), "more_body": True}

    async def _send(self, message: dict[str, Any]) -> None:
        self._sent.append(message)


def routes() -> list[tuple[str, str]]:
    """Every function's routes beside `/`, with an id in the place of each parameter."""
    specs = {name: getattr(target(name), "spec", None) for name in sorted(all_folders())}
    return [
        (name, re.sub(r"\{[^}]*\}", "1", one.path))
        for name, spec in specs.items()
        if spec is not None
        for one in spec.routes
        if isinstance(one, Route) and one.path != "/"
    ]


@pytest.mark.parametrize(("pieces", "status"), [(10, 413), (1, 408)], ids=["large", "slow"])
async def test_no_route_of_a_function_waits_for_a_body_without_end(
    cluster: Cluster, functions_database: str, pieces: int, status: int
) -> None:
    limits = {"MAX_BODY_BYTES": str(LIMIT), "BODY_TIMEOUT_S": "0.1"}
    for name in {name for name, _ in routes()}:
        cluster.deploy(target(name), {"DATABASE_URL": functions_database, **limits})
    readers = set()
    for name, path in routes():
        sender = Sender(cluster, name, path, pieces)
        found = await sender.status()
        if sender.taken:
            assert (found, sender.taken) == (status, min(pieces, 2)), f"{name} {path}"
            readers.add(name)
    assert readers == {"dead_letter", "scheduler"}, "others decide before they read, or never do"


@pytest.mark.parametrize(
    ("name", "path"), [("dead_letter", "/redrive"), ("scheduler", "/schedules/x/pause")]
)
async def test_a_large_body_of_a_route_is_not_parsed_on_the_loop(
    cluster: Cluster, functions_database: str, name: str, path: str
) -> None:
    limit = {"MAX_BODY_BYTES": str(64 * 1024 * 1024)}
    cluster.deploy(target(name), {"DATABASE_URL": functions_database, **limit})
    body = b"[" + b'{"a": 1},' * 1_000_000 + b"0]"
    async with cluster.client(name.replace("_", "-")) as client, serving_others():
        answer = await client.post(path, content=body, headers={"X-User": "ada"})
    assert answer.status_code == 422


async def test_a_stranger_ticks_no_public_function(receiver: httpx.AsyncClient) -> None:
    answer = await receiver.post("/", json={"schedule": "x", "time": "2026-01-01T00:00:00Z"})

    assert answer.status_code == 400
    assert "CloudEvents only" in answer.json()["detail"]


async def test_a_delivery_without_its_proof_is_refused_unread(
    cluster: Cluster, receiver: httpx.AsyncClient
) -> None:
    taken: list[int] = []

    async def receive() -> dict[str, object]:
        taken.append(1)
        return {"type": "http.request", "body": b"x" * 1024, "more_body": len(taken) < 10_000}

    for source in ("github", "grafana", "pm", "cli"):
        sent: list[dict[str, object]] = []

        async def send(message: dict[str, object], sent: list[dict[str, object]] = sent) -> None:
            sent.append(message)

        scope = {
            **{"type": "http", "method": "POST", "path": f"/webhook/{source}"},
            **{"query_string": b"", "headers": []},
        }
        await cluster.apps["webhook-receiver"](scope, receive, send)
        assert sent[0]["status"] == 401
    assert taken == []


async def test_an_agent_may_say_a_megabyte(receiver: httpx.AsyncClient) -> None:
    body = {**make.TASK, "more": "x" * 1024 * 1024}

    answer = await make.post(receiver, make.from_agent(body))

    assert answer.status_code == 413


async def test_a_large_form_is_read_beside_the_other_requests(
    receiver: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    others_are_answered = threading.Event()
    source = intake.SOURCES["github"]

    def read(arrival: intake.Arrival) -> object:
        assert others_are_answered.wait(10), "nobody else was answered meanwhile"
        return source.read(arrival)

    monkeypatch.setitem(intake.SOURCES, "github", dataclasses.replace(source, read=read))  # type: ignore[arg-type]
    headers = {"content-type": "application/x-www-form-urlencoded"}
    payload = b"payload=" + quote_plus(json.dumps({"a": "x y" * 100_000})).encode()
    large = asyncio.create_task(
        make.post(receiver, make.from_github(event="ping", body=payload, headers=headers))
    )

    assert (await make.post(receiver, make.from_agent())).status_code == 202
    others_are_answered.set()
    assert (await large).status_code == 202
