"""What callers may read of job-launcher, through the receiver."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse

from tests.support import webhook_requests as make
from tests.support.cluster import Cluster, Scope
from tests.support.webhook_requests import Post, post


@pytest.fixture
def asked(cluster: Cluster) -> list[str]:
    """A job-launcher that knows one Job; what it was asked."""
    asked: list[str] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        url = Request(scope).url
        asked.append(url.path + (f"?{url.query}" if url.query else ""))
        known = {"/jobs": {"jobs": []}, "/jobs/j": {"name": "j"}, "/tasks/7": {"id": "7"}}
        if url.path == "/jobs/j/logs":
            await PlainTextResponse("one\ntwo\n")(scope, receive, send)
        elif url.path in known:
            await JSONResponse(known[url.path])(scope, receive, send)
        else:
            await JSONResponse({"detail": "no such job"}, 404)(scope, receive, send)

    cluster.add("job-launcher", app)
    return asked


@pytest.mark.parametrize(
    ("request_", "path", "answer"),
    [
        (make.from_cli("list_jobs", microservice="s"), "/jobs?service=s", {"jobs": []}),
        (make.from_cli("get_job", "j"), "/jobs/j", {"name": "j"}),
        (
            make.from_agent({"action": "get_task_status", "task": {"id": 7}}),
            "/tasks/7",
            {"id": "7"},
        ),
    ],
    ids=["list", "get", "status"],
)
async def test_an_answer_is_handed_on(
    receiver: httpx.AsyncClient, asked: list[str], request_: Post, path: str, answer: Any
) -> None:
    response = await post(receiver, request_)

    assert (response.status_code, response.json()) == (200, answer)
    assert asked == [path]


async def test_logs_are_handed_on_as_they_come(
    receiver: httpx.AsyncClient, asked: list[str]
) -> None:
    response = await post(receiver, make.from_cli("get_job_logs", "j", follow=True))

    assert (response.status_code, response.text) == (200, "one\ntwo\n")
    assert asked == ["/jobs/j/logs?follow=true"]


@pytest.mark.parametrize("command", ["get_job", "get_job_logs"])
async def test_an_unknown_job_is_404(
    receiver: httpx.AsyncClient, asked: list[str], command: str
) -> None:
    response = await post(receiver, make.from_cli(command, "nobody"))

    assert response.status_code == 404
    assert "no such job" in response.json()["detail"]


async def test_a_launcher_that_is_away_is_503(receiver: httpx.AsyncClient) -> None:
    assert (await post(receiver, make.from_cli("get_job_logs", "j"))).status_code == 503
