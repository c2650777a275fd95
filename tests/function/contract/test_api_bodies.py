"""What an API takes from strangers: small bodies, in time, and not too many large ones at once."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from functions.kit.clients.off_loop import INLINE_BYTES, off_loop
from functions.kit.contract.documents import MAX_YAML_BYTES
from functions.orchestrator.main import orchestrator
from tests.support import eventually
from tests.support.cluster import Cluster, assert_problem

LIMIT = 64 * 1024
REGISTER = "/api/orchestration/register"
Receive = Callable[[], Awaitable[dict[str, Any]]]


class Caller:
    """Sends a body by hand, a piece at a time; `status` is what was answered."""

    def __init__(self, cluster: Cluster, path: str = REGISTER) -> None:
        self.pieces: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.read = 0
        scope = {
            **{"type": "http", "method": "POST", "path": path, "raw_path": path.encode()},
            **{"query_string": b"", "headers": [], "scheme": "http", "root_path": ""},
            **{"http_version": "1.1", "client": None, "server": ("x", 80)},
        }
        app = cluster.apps["orchestrator"]
        self.task: asyncio.Task[None] = asyncio.create_task(
            app(scope, self._receive, self._send)  # type: ignore[arg-type]
        )

    async def _receive(self) -> dict[str, Any]:
        piece = await self.pieces.get()
        self.read += 1
        return piece

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def put(self, body: bytes, *, more: bool) -> None:
        self.pieces.put_nowait({"type": "http.request", "body": body, "more_body": more})

    async def answer(self) -> tuple[int, Any]:
        await self.task
        body = b"".join(m.get("body", b"") for m in self.sent)
        return self.sent[0]["status"], json.loads(body)


@pytest.fixture
def api(cluster: Cluster, functions_database: str) -> Cluster:
    environ = {"DATABASE_URL": functions_database, "MAX_BODY_BYTES": str(LIMIT)}
    cluster.deploy(orchestrator, environ | {"BODY_TIMEOUT_S": "0.3"})
    return cluster


@pytest.mark.parametrize("path", ["/", REGISTER, "/api/orchestration/execute/o"])
async def test_a_megabyte_is_the_limit_unless_a_setting_says_otherwise(
    cluster: Cluster, functions_database: str, path: str
) -> None:
    cluster.deploy(orchestrator, {"DATABASE_URL": functions_database})
    response = await cluster.client("orchestrator").post(path, content=b"[]," * 350_000)
    assert response.status_code == 413
    assert response.json()["detail"] == (
        "body: has 1050000 bytes, the maximum is 1048576 bytes: send less, or set MAX_BODY_BYTES"
    )
    assert_problem(response)


async def test_a_body_of_unknown_length_is_refused_where_it_passes_the_limit(api: Cluster) -> None:
    caller = Caller(api)
    for _ in range(3):
        caller.put(b"x" * (LIMIT // 2 + 1), more=True)
    status, problem = await caller.answer()
    assert status == 413
    assert problem["detail"].startswith(f"body: has more, the maximum is {LIMIT} bytes: ")
    assert caller.read == 2, "the rest is not read"


async def test_a_sender_that_is_too_slow_is_refused(api: Cluster) -> None:
    caller = Caller(api)
    caller.put(b"{", more=True)
    status, found = await caller.answer()
    assert (status, found["detail"]) == (408, "the body took over 0.3 s")


async def test_half_a_body_changes_nothing_and_is_no_error_of_ours(
    api: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caller = Caller(api)
    caller.put(b'{"orchName": "half", "as": "initiator"', more=True)
    caller.pieces.put_nowait({"type": "http.disconnect"})
    await caller.task
    assert caller.sent == []
    assert (await api.client("orchestrator").get("/api/orchestrations/half")).status_code == 404
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []


async def test_large_bodies_find_room_or_are_asked_to_come_again(
    cluster: Cluster, functions_database: str
) -> None:
    environ = {"DATABASE_URL": functions_database, "MAX_BODY_BYTES": str(LIMIT)}
    cluster.deploy(orchestrator, environ)
    first = [Caller(cluster) for _ in range(8)]
    for caller in first:
        caller.put(b" " * LIMIT, more=True)

    async def arrived() -> bool:
        return all(caller.read for caller in first)

    await eventually(arrived)
    late = Caller(cluster)
    late.put(b"{}", more=False)
    status, _ = await late.answer()
    assert status == 503
    assert (b"retry-after", b"1") in late.sent[0]["headers"]
    for caller in first:
        caller.put(b"", more=False)
        assert (await caller.answer())[0] == 400
    assert (await cluster.client("orchestrator").post(REGISTER, content=b"{}")).status_code == 400


async def test_yaml_is_smaller_still(cluster: Cluster, functions_database: str) -> None:
    cluster.deploy(orchestrator, {"DATABASE_URL": functions_database})
    text = b"- a\n" * (MAX_YAML_BYTES // 4 + 1)
    response = await cluster.client("orchestrator").post(REGISTER, content=text)
    assert response.status_code == 400
    assert "YAML of over 65536 bytes: send JSON" in response.json()["detail"]


@pytest.mark.parametrize("text", [b"- " * 5000 + b"a", b"[" * 5000, b"? " * 5000, b"{a: " * 5000])
async def test_deep_yaml_is_refused_and_ends_no_process(
    cluster: Cluster, functions_database: str, text: bytes
) -> None:
    cluster.deploy(orchestrator, {"DATABASE_URL": functions_database})
    response = await cluster.client("orchestrator").post(REGISTER, content=text)
    assert response.status_code == 400
    assert "nested" in response.json()["detail"]


async def test_a_large_body_is_read_beside_the_other_requests() -> None:
    here = threading.get_ident()
    assert await off_loop(INLINE_BYTES, threading.get_ident) == here
    assert await off_loop(INLINE_BYTES + 1, threading.get_ident) != here
