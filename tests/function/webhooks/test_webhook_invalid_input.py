"""The four requests that callers send most, cut short, mislabelled, or with another method."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.support import eventually
from tests.support import webhook_requests as make
from tests.support.cluster import MAX_ERROR_BYTES, Cluster
from tests.support.webhook_requests import Post, post

REQUESTS: dict[str, Callable[[], Post]] = {
    "issue labelled": lambda: make.from_github(),
    "alert": lambda: make.from_grafana(),
    "PM task": lambda: make.from_agent(),
    "CLI task": lambda: make.from_cli("create_task", "Write it", microservice="docs"),
}
CONTENT_TYPES = (
    "",
    "text/plain",
    "application/xml",
    "application/json; charset=utf-16",
    "application/cloudevents+json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "no type at all",
)


@pytest.fixture(params=list(REQUESTS))
def request_(request: pytest.FixtureRequest) -> Post:
    return REQUESTS[request.param]()


def is_short_refusal(answer: httpx.Response) -> bool:
    return 400 <= answer.status_code < 500 and len(answer.content) <= MAX_ERROR_BYTES


async def test_the_request_itself_is_taken(receiver: httpx.AsyncClient, request_: Post) -> None:
    assert (await post(receiver, request_)).status_code == 202


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
async def test_half_a_body_is_not_what_was_signed(
    receiver: httpx.AsyncClient, request_: Post, share: float
) -> None:
    path, headers, body = request_
    answer = await post(receiver, (path, headers, body[: int(len(body.rstrip()) * share)]))

    assert answer.status_code == 401
    assert is_short_refusal(answer)
    whole = await post(receiver, request_)
    assert (whole.status_code, whole.json()["repeated"]) == (202, False)


async def test_a_sender_that_leaves_within_the_body_has_sent_nothing(
    receiver: httpx.AsyncClient, cluster: Cluster, request_: Post
) -> None:
    path, headers, body = request_
    coming: list[dict[str, Any]] = [
        {"type": "http.request", "body": body[: len(body) // 2], "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return coming.pop(0) if len(coming) > 1 else coming[0]

    async def send(message: dict[str, Any]) -> None:
        assert message.get("status", 400) != 202

    raw = {**headers, "host": "webhook-receiver.dsm.svc.cluster.local"}
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in raw.items()],
        "client": ("192.0.2.1", 1),
        "server": ("192.0.2.2", 80),
    }
    await cluster.apps["webhook-receiver"](scope, receive, send)

    answer = await post(receiver, request_)
    assert (answer.status_code, answer.json()["repeated"]) == (202, False)


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
async def test_another_content_type_is_read_the_same_or_refused(
    receiver: httpx.AsyncClient, cluster: Cluster, request_: Post, content_type: str
) -> None:
    path, headers, body = request_
    answer = await post(receiver, (path, {**headers, "content-type": content_type}, body))

    if answer.status_code == 202:

        async def is_sent() -> bool:
            return len(cluster.sink.messages) == 1

        await eventually(is_sent)
        (sent,) = cluster.sink.messages
        assert sent.datacontenttype == "application/json"
        assert isinstance(json.loads(sent.data), dict)
    else:
        assert is_short_refusal(answer)


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD", "GET", "PUT", "PATCH", "DELETE", "TRACE"])
async def test_another_method_does_nothing(
    receiver: httpx.AsyncClient, request_: Post, method: str
) -> None:
    path, headers, body = request_
    answer = await receiver.request(method, path, headers=headers, content=body)

    assert is_short_refusal(answer)
    assert answer.status_code == 405
    assert "POST" in answer.headers["allow"]
    whole = await post(receiver, request_)
    assert (whole.status_code, whole.json()["repeated"]) == (202, False)
