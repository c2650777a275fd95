"""Who does not get in, and the answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from functions.webhook_receiver.main import webhook_receiver
from tests.support import webhook_requests as make
from tests.support.cluster import Cluster, Scope, assert_problem
from tests.support.webhook_requests import Post, post


def changed(request: Post, **headers: str | None) -> Post:
    path, given, body = request
    wanted = {name.replace("_", "-"): value for name, value in headers.items()}
    kept = {**given, **wanted}
    return path, {n: v for n, v in kept.items() if v is not None}, body


ISSUE = make.from_github()
REFUSED: dict[str, tuple[Post, int, str]] = {
    "unknown source": (("/webhook/gitlab", {}, b"{}"), 404, "no such source"),
    "no signature": (changed(ISSUE, x_hub_signature_256=None), 401, "missing"),
    "other secret": (make.from_github(secret="other"), 401, "does not match"),
    "changed body": ((*ISSUE[:2], b"{}"), 401, "does not match"),
    "grafana: no signature": (("/webhook/grafana", {}, b"{}"), 401, "missing"),
    "grafana: other secret": (make.from_grafana(secret="other"), 401, "does not match"),
    "grafana: old": (make.from_grafana(timestamp=make.NOW.timestamp() - 400), 401, "five minutes"),
    "grafana: ahead": (
        make.from_grafana(timestamp=make.NOW.timestamp() + 400),
        401,
        "five minutes",
    ),
    "pm: no signature": (("/webhook/pm", {}, b"{}"), 401, "webhook-id is missing"),
    "pm: other source's secret": (make.from_agent(secret=make.CLI), 401, "does not match"),
    "pm: old": (make.from_agent(at=make.NOW.timestamp() - 400), 401, "five minutes"),
    "cli: ahead": (make.from_agent({}, "cli", at=make.NOW.timestamp() + 400), 401, "five minutes"),
    "no event header": (changed(ISSUE, x_github_event=None), 400, "X-GitHub-Event"),
    "no delivery header": (changed(ISSUE, x_github_delivery=None), 400, "X-GitHub-Delivery"),
    "odd event header": (changed(ISSUE, x_github_event="a b"), 400, "X-GitHub-Event"),
    "long delivery header": (changed(ISSUE, x_github_delivery="d" * 256), 400, "Delivery"),
    "no JSON": (make.from_github(body=b"{"), 400, "not valid JSON"),
    "no UTF-8": (make.from_github(body=b'{"a":"\xff"}'), 400, "not valid JSON"),
    "no object": (make.from_github(body=b"[]"), 400, "JSON object"),
    "too deep": (make.from_github(body=b"[" * 200_000), 400, "not valid JSON"),
    "empty": (make.from_github(body=b""), 400, "not valid JSON"),
    "form without payload": (
        make.from_github(
            body=b"a=b", headers={"content-type": "application/x-www-form-urlencoded"}
        ),
        400,
        "payload",
    ),
    "grafana: no status": (make.from_grafana({"alerts": []}), 400, "status"),
    "grafana: no alerts": (make.from_grafana({"status": "firing"}), 400, "alerts"),
    "grafana: odd labels": (
        make.from_grafana({"status": "firing", "alerts": [{"status": "x", "labels": {"a": []}}]}),
        400,
        "labels",
    ),
    "pm: no action": (make.from_agent({}), 400, "action"),
    "pm: no title": (make.from_agent({"action": "create_task", "task": {"id": "1"}}), 400, "title"),
    "cli: unknown command": (make.from_cli("explode"), 400, "command"),
}


@pytest.mark.parametrize(
    ("request_", "status", "expected_text"), REFUSED.values(), ids=REFUSED.keys()
)
async def test_what_is_not_right_is_refused_with_a_reason_and_nothing_is_emitted(
    cluster: Cluster, receiver: httpx.AsyncClient, request_: Post, status: int, expected_text: str
) -> None:
    response = await post(receiver, request_)

    assert response.status_code == status
    assert expected_text in response.json()["detail"]
    assert_problem(response)
    for secret in make.SECRETS.values():
        assert secret not in response.text
    shown = await receiver.get("/deliveries", headers={"authorization": f"Bearer {make.TOKEN}"})
    assert shown.json()["deliveries"] == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_a_wrong_method_is_reported(receiver: httpx.AsyncClient, method: str) -> None:
    response = await receiver.request(method, "/webhook/github")

    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert_problem(response)


class TestBodies:
    @pytest.fixture
    async def small(
        self, cluster: Cluster, webhook_database: str
    ) -> AsyncIterator[httpx.AsyncClient]:
        environ = {"DATABASE_URL": webhook_database, "MAX_BODY_BYTES": "2000", **make.SECRETS}
        cluster.deploy(webhook_receiver, environ, now=make.clock)
        async with cluster.client("webhook-receiver") as client:
            yield client

    async def test_one_at_the_limit_is_taken(self, small: httpx.AsyncClient) -> None:
        body = b'{"a":"' + b"x" * (2000 - 8) + b'"}'
        assert (await post(small, make.from_github(event="ping", body=body))).status_code == 202

    async def test_one_over_the_limit_is_refused_by_its_length(
        self, small: httpx.AsyncClient
    ) -> None:
        assert (await post(small, make.from_github(body=b"x" * 2001))).status_code == 413

    @pytest.mark.usefixtures("small")
    async def test_reading_ends_at_the_limit(self, cluster: Cluster) -> None:
        given = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal given
            while True:
                given += 1000
                yield b"x" * 1000

        # As ASGI has it: httpx's own transport would gather the whole body first.
        path, headers, _ = make.from_github()
        stream = endless()
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": await anext(stream), "more_body": True}

        async def send(message: Any) -> None:
            sent.append(message)

        scope: Scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "headers": [(n.encode(), v.encode()) for n, v in headers.items()],
        }
        await cluster.apps["webhook-receiver"](scope, receive, send)

        assert sent[0]["status"] == 413
        assert given == 3000


async def test_a_source_without_a_secret_is_refused(
    cluster: Cluster, webhook_database: str
) -> None:
    environ = {"DATABASE_URL": webhook_database, "GITHUB_WEBHOOK_SECRETS": make.GITHUB}
    cluster.deploy(webhook_receiver, environ, now=make.clock)
    async with cluster.client("webhook-receiver") as client:
        response = await post(client, make.from_agent())
        assert response.status_code == 403
        assert "PM_WEBHOOK_SECRETS" in response.json()["detail"]
        assert (await client.get("/deliveries")).status_code == 403
        assert (await post(client, make.from_github())).status_code == 202


async def test_unsigned_is_let_in_only_where_there_is_no_secret(
    cluster: Cluster, webhook_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    environ = {"DATABASE_URL": webhook_database, "ALLOW_UNSIGNED": "true"}
    cluster.deploy(webhook_receiver, environ | {"PM_WEBHOOK_SECRETS": make.PM}, now=make.clock)
    async with cluster.client("webhook-receiver") as client:
        bare = changed(make.from_github(), x_hub_signature_256=None)
        assert (await post(client, bare)).status_code == 202
        assert (await client.post("/webhook/pm", json=make.TASK)).status_code == 401
    assert "ALLOW_UNSIGNED" in caplog.text


@pytest.mark.parametrize("valid", [make.GITHUB, "next"])
async def test_two_secrets_are_valid_while_they_are_changed(
    cluster: Cluster, webhook_database: str, valid: str
) -> None:
    secrets = {"GITHUB_WEBHOOK_SECRETS": f"{make.GITHUB}\nnext"}
    cluster.deploy(webhook_receiver, {"DATABASE_URL": webhook_database, **secrets}, now=make.clock)
    async with cluster.client("webhook-receiver") as client:
        assert (await post(client, make.from_github(secret=valid))).status_code == 202


async def test_a_database_that_is_away_means_503_and_nothing_acknowledged(
    cluster: Cluster,
) -> None:
    environ = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", **make.SECRETS}
    cluster.deploy(webhook_receiver, environ, now=make.clock)
    async with cluster.client("webhook-receiver") as client:
        response = await post(client, make.from_github())
    assert response.status_code == 503
    assert response.json()["detail"].startswith("database")
