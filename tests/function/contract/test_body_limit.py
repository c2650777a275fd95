"""No stranger fills a process's memory: every target ends a body at its limit."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
from urllib.parse import quote_plus

import httpx
import pytest

from functions.webhook_receiver import intake
from tests.function.contract.test_serve import served
from tests.support import webhook_requests as make
from tests.support.cluster import Cluster, assert_problem

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
