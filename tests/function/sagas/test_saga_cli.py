"""`dsm sagas`: what a user does with sagas on the command line, at a real orchestrator."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions.orchestrator.cli import URL, main
from tests.support.cluster import Cluster
from tests.support.saga_world import TENANT, SagaWorld

Command = Callable[..., Coroutine[Any, Any, tuple[int, str]]]


class _Network(httpx.BaseTransport):
    """The command's requests, out of its thread, at the orchestrator in the loop."""

    def __init__(self, api: httpx.AsyncClient) -> None:
        self._api, self._loop = api, asyncio.get_running_loop()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        sent = self._api.request(
            request.method, request.url.raw_path.decode(), content=request.read(),
            headers=request.headers,
        )  # fmt: skip
        answer = asyncio.run_coroutine_threadsafe(sent, self._loop).result(timeout=30)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


@pytest.fixture
def world(cluster: Cluster, functions_database: str) -> SagaWorld:
    return SagaWorld(cluster, functions_database)


@pytest.fixture
async def sagas(world: SagaWorld) -> Command:
    """Runs one command; its exit code and its output."""
    network = _Network(world.api)

    async def run(*arguments: str) -> tuple[int, str]:
        out = io.StringIO()
        given = ["--by", "ada", *arguments]
        code = await asyncio.to_thread(main, given, environ={}, transport=network, out=out)
        return code, out.getvalue().strip()

    return run


async def test_a_saga_is_registered_run_and_undone(
    world: SagaWorld, sagas: Command, tmp_path: Path
) -> None:
    document = tmp_path / "saga.json"
    document.write_text(json.dumps(TENANT))
    assert await sagas("register", str(document)) == (
        0,
        "Registration initiated for orchestration: tenantCreation, without a worker yet: "
        "createRealm, createClient",
    )
    for worker in ("realm-service", "client-service"):
        await world.work_for(worker)
    assert "tenantCreation  sequential  SUCCESS  1" in (await sagas("list"))[1]
    assert "createClient  SUCCESS  client-service" in (await sagas("show", "tenantCreation"))[1]

    _, started = await sagas("execute", "tenantCreation", "--payload", '{"tenantId": "north"}')
    flow_id, status = started.split()
    assert status == "IN_PROGRESS"
    await world.until(flow_id, "COMPLETED")
    assert (await sagas("undo-plan", flow_id)) == (0, "1. createClient\n2. createRealm")
    code, changed = await sagas("undo", flow_id, "--reason", "wrong name")
    assert (code, changed) == (0, f"{flow_id} UNDOING")
    await world.until(flow_id, "UNDONE")
    _, shown = await sagas("run", flow_id)
    assert shown.startswith(f"{flow_id} tenantCreation: UNDONE")
    entries = json.loads((await sagas("history", flow_id, "--json"))[1])
    assert [e["detail"] for e in entries if e["who"] == "ada"][-1] == "wrong name"
    listed = json.loads((await sagas("runs", "--json", "--name", "tenant"))[1])
    assert [one["executionId"] for one in listed["content"]] == [flow_id]


async def test_a_request_with_its_key_begins_one_run(world: SagaWorld, sagas: Command) -> None:
    await world.register("realm-service", "client-service")
    first, second = [await sagas("execute", "tenantCreation", "--key", "k") for _ in range(2)]
    assert first[1].split()[0] == second[1].split()[0]
    assert await world.count("orchestration_run") == 1


async def test_a_run_without_workers_says_what_it_waits_for(
    world: SagaWorld, sagas: Command
) -> None:
    await world.register()
    code, text = await sagas("execute", "tenantCreation")
    assert code == 0
    assert "createRealm" in text
    assert (await sagas("runs", "--stuck"))[1].count("WAITING") == 1


async def test_what_is_refused_is_reported_in_one_line(
    sagas: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    unknown = "00000000-0000-0000-0000-000000000000"
    for arguments in (
        ("run", unknown),
        ("pause", unknown),
        ("show", "nothing"),
        ("execute", "nothing"),
        ("register", str(tmp_path / "missing.yaml")),
    ):
        assert (await sagas(*arguments)) == (1, "")
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 5
    assert printed[0] == f"error: flowId: there is no run {unknown}"
    assert "missing.yaml" in printed[-1]
    assert URL.endswith(".localhost:8080")
