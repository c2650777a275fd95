"""HEAD is answered wherever GET is: the same head, and no body."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from functions.dead_letter.main import dead_letter
from functions.event_recorder.main import event_recorder
from functions.kit.contract.head import HeadAsGet
from tests.support.cluster import Cluster


@pytest.fixture
def keepers(cluster: Cluster, functions_database: str) -> Cluster:
    for target in (dead_letter, event_recorder):
        cluster.deploy(target, {"DATABASE_URL": functions_database})
    return cluster


@pytest.mark.parametrize(
    ("name", "path", "status"),
    [
        ("dead-letter", "/dead-letters", 200),
        ("dead-letter", "/dead-letters/7", 404),
        ("dead-letter", "/dead-letters?limit=x", 422),
        ("dead-letter", "/redrive", 405),
        ("event-recorder", "/events/search", 200),
        ("event-recorder", "/runs", 200),
    ],
)
async def test_the_head_is_that_of_get(keepers: Cluster, name: str, path: str, status: int) -> None:
    async with keepers.client(name) as client:
        headed, got = await client.head(path), await client.get(path)
    assert (headed.status_code, headed.content) == (status, b"")
    assert got.status_code == status
    assert status == 405 or headed.headers == got.headers


async def test_an_endless_answer_ends_with_its_head() -> None:
    before = asyncio.all_tasks()

    async def for_ever(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"line\n", "more_body": True})

    transport = httpx.ASGITransport(HeadAsGet(for_ever))
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        answer = await client.head("/")
    assert (answer.status_code, answer.content) == (200, b"")
    assert asyncio.all_tasks() == before


async def test_what_an_application_raises_is_raised() -> None:
    async def broken(_: Request) -> Response:
        raise RuntimeError("broken")

    app = HeadAsGet(Starlette(routes=[Route("/", broken)]))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        with pytest.raises(RuntimeError, match="broken"):
            await client.head("/")
