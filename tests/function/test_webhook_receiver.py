"""The receiver over HTTP: who gets in, what is said, and what they may read."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse

from functions.events.webhook import GithubEvent, GrafanaNotified, TaskRequested
from functions.kit import envelope
from functions.webhook_receiver.main import webhook_receiver
from tests.cluster import MOST_ERROR_BYTES, Cluster, Scope
from tests.function import webhook_requests as make
from tests.function.webhook_requests import Post
from tests.support import eventually


@pytest.fixture
async def receiver(cluster: Cluster, webhook_database: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a receiver with all sources armed."""
    cluster.deploy(
        webhook_receiver, {"DATABASE_URL": webhook_database, **make.SECRETS}, now=make.clock
    )
    async with cluster.client("webhook-receiver") as client:
        yield client


async def post(client: httpx.AsyncClient, request: Post) -> httpx.Response:
    path, headers, body = request
    return await client.post(path, headers=headers, content=body)


async def said(cluster: Cluster, count: int = 1) -> list[Any]:
    """The messages at the broker, once there are so many."""

    async def arrived() -> bool:
        return len(cluster.sink.messages) >= count

    await eventually(arrived)
    return list(cluster.sink.messages)


async def test_a_github_delivery_is_accepted_and_becomes_its_event(
    cluster: Cluster, receiver: httpx.AsyncClient
) -> None:
    response = await post(receiver, make.from_github(delivery="d-1"))

    assert response.status_code == 202
    assert response.json() == {
        "accepted": True,
        "id": "d-1",
        "repeated": False,
        "message": "accepted",
    }
    [message] = await said(cluster)
    assert (message.id, message.type, message.subject) == ("d-1", "com.github.issue.labeled", "7")
    assert message.source == "https://api.github.com/repos/o/r"
    assert message.time == "2026-01-02T03:04:05Z"
    assert json.loads(message.data) == make.ISSUE
    event = envelope.open_(message, (GithubEvent,))
    assert isinstance(event, GithubEvent)
    assert event.repository is not None
    assert event.repository.full_name == "o/r"


async def test_a_repeated_delivery_is_answered_and_not_said_again(
    cluster: Cluster, receiver: httpx.AsyncClient
) -> None:
    answers = [await post(receiver, make.from_github(delivery="d-1")) for _ in range(3)]
    await post(receiver, make.from_github(delivery="d-2"))

    assert [a.status_code for a in answers] == [202] * 3
    assert [a.json()["repeated"] for a in answers] == [False, True, True]
    assert "accepted before" in answers[1].json()["message"]
    assert sorted(m.id for m in await said(cluster, 2)) == ["d-1", "d-2"]


async def test_a_form_is_read_like_json(cluster: Cluster, receiver: httpx.AsyncClient) -> None:
    body = urlencode({"payload": json.dumps(make.ISSUE)}).encode()
    form = {"content-type": "application/x-www-form-urlencoded"}

    response = await post(receiver, make.from_github(body=body, headers=form))

    assert response.status_code == 202
    [message] = await said(cluster)
    assert message.datacontenttype == "application/json"
    assert json.loads(message.data) == make.ISSUE


async def test_a_ping_is_answered(receiver: httpx.AsyncClient) -> None:
    response = await post(receiver, make.from_github({"zen": "Keep it simple."}, "ping"))

    assert (response.status_code, response.json()["message"]) == (202, "pong")


@pytest.mark.parametrize("event", ["never_heard_of", "projects_v2_item", "workflow_run"])
async def test_events_that_nobody_knows_are_accepted(
    cluster: Cluster, receiver: httpx.AsyncClient, event: str
) -> None:
    response = await post(receiver, make.from_github({"action": "shone"}, event))

    assert response.status_code == 202
    [message] = await said(cluster)
    assert message.type == f"com.github.{event}.shone"


async def test_a_trace_is_passed_on(cluster: Cluster, receiver: httpx.AsyncClient) -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"

    await post(receiver, make.from_github(delivery="d", headers={"traceparent": trace}))

    [message] = await said(cluster)
    assert message.extensions["traceparent"] == trace
    assert message.extensions["correlationid"] == "d"


@pytest.mark.parametrize("stamped", [True, False], ids=["with timestamp", "without"])
async def test_a_grafana_notification_becomes_an_event_once(
    cluster: Cluster, receiver: httpx.AsyncClient, stamped: bool
) -> None:
    request = make.from_grafana(timestamp=make.NOW.timestamp() if stamped else None)
    later = make.from_grafana(make.ALERT | {"title": "in other words"})

    answers = [await post(receiver, one) for one in (request, later)]

    assert [a.json()["repeated"] for a in answers] == [False, True]
    [message] = await said(cluster)
    assert (message.type, message.subject) == ("com.grafana.alert.firing", "agents")
    event = envelope.open_(message, (GrafanaNotified,))
    assert isinstance(event, GrafanaNotified)
    assert event.alerts[0].labels["task_id"] == "7"


async def test_a_pm_agents_task_becomes_a_request(
    cluster: Cluster, receiver: httpx.AsyncClient
) -> None:
    response = await post(receiver, make.from_agent(id="msg_1"))

    assert response.status_code == 202
    assert (response.json()["task_id"], response.json()["job_ids"]) == ("t-1", [])
    [message] = await said(cluster)
    assert (message.id, message.source) == ("msg_1", "/functions/webhook-receiver/pm")
    assert isinstance(envelope.open_(message, (TaskRequested,)), TaskRequested)


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


@pytest.mark.parametrize(("request_", "status", "words"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_not_right_is_refused_in_words_and_nothing_is_said(
    cluster: Cluster, receiver: httpx.AsyncClient, request_: Post, status: int, words: str
) -> None:
    response = await post(receiver, request_)

    assert response.status_code == status
    assert words in response.json()["detail"]
    assert len(response.content) <= MOST_ERROR_BYTES
    for secret in make.SECRETS.values():
        assert secret not in response.text
    shown = await receiver.get("/deliveries", headers={"authorization": f"Bearer {make.TOKEN}"})
    assert shown.json()["deliveries"] == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_a_wrong_method_is_said(receiver: httpx.AsyncClient, method: str) -> None:
    response = await receiver.request(method, "/webhook/github")

    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert response.json()["detail"]


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
        assert (await post(small, make.from_github(body=body))).status_code == 202

    async def test_one_over_the_limit_is_refused_by_its_length(
        self, small: httpx.AsyncClient
    ) -> None:
        assert (await post(small, make.from_github(body=b"x" * 2001))).status_code == 413

    async def test_reading_ends_at_the_limit(self, small: httpx.AsyncClient) -> None:
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
        transport = small._transport
        assert isinstance(transport, Cluster)
        await transport.apps["webhook-receiver"](scope, receive, send)

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


class TestQuestions:
    """What is read from job-launcher."""

    @pytest.fixture
    def asked(self, cluster: Cluster) -> list[str]:
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
        self, receiver: httpx.AsyncClient, asked: list[str], request_: Post, path: str, answer: Any
    ) -> None:
        response = await post(receiver, request_)

        assert (response.status_code, response.json()) == (200, answer)
        assert asked == [path]

    async def test_logs_are_handed_on_as_they_come(
        self, receiver: httpx.AsyncClient, asked: list[str]
    ) -> None:
        response = await post(receiver, make.from_cli("get_job_logs", "j", follow=True))

        assert (response.status_code, response.text) == (200, "one\ntwo\n")
        assert asked == ["/jobs/j/logs?follow=true"]

    @pytest.mark.parametrize("command", ["get_job", "get_job_logs"])
    async def test_an_unknown_job_is_404(
        self, receiver: httpx.AsyncClient, asked: list[str], command: str
    ) -> None:
        response = await post(receiver, make.from_cli(command, "nobody"))

        assert response.status_code == 404
        assert "no such job" in response.json()["detail"]

    async def test_a_launcher_that_is_away_is_503(self, receiver: httpx.AsyncClient) -> None:
        assert (await post(receiver, make.from_cli("get_job_logs", "j"))).status_code == 503


async def test_a_database_that_is_away_means_503_and_nothing_acknowledged(
    cluster: Cluster,
) -> None:
    environ = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", **make.SECRETS}
    cluster.deploy(webhook_receiver, environ, now=make.clock)
    async with cluster.client("webhook-receiver") as client:
        response = await post(client, make.from_github())
    assert response.status_code == 503
    assert response.json()["detail"].startswith("database")
