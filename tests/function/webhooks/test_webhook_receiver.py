"""The receiver over HTTP: who gets in, and what is answered."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from functions.events.webhook import GithubEvent, GrafanaNotified, TaskRequested
from functions.kit.contract import envelope
from tests.support import eventually
from tests.support import webhook_requests as make
from tests.support.cluster import Cluster
from tests.support.webhook_requests import post


async def emitted(cluster: Cluster, count: int = 1) -> list[Any]:
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
    [message] = await emitted(cluster)
    assert (message.id, message.type, message.subject) == ("d-1", "com.github.issue.labeled", "7")
    assert message.source == "https://api.github.com/repos/o/r"
    assert message.time == "2026-01-02T03:04:05Z"
    assert json.loads(message.data) == make.ISSUE
    event = envelope.open_(message, (GithubEvent,))
    assert isinstance(event, GithubEvent)
    assert event.repository is not None
    assert event.repository.full_name == "o/r"


async def test_a_repeated_delivery_is_answered_and_not_emitted_again(
    cluster: Cluster, receiver: httpx.AsyncClient
) -> None:
    answers = [await post(receiver, make.from_github(delivery="d-1")) for _ in range(3)]
    await post(receiver, make.from_github(delivery="d-2"))

    assert [a.status_code for a in answers] == [202] * 3
    assert [a.json()["repeated"] for a in answers] == [False, True, True]
    assert "accepted before" in answers[1].json()["message"]
    assert sorted(m.id for m in await emitted(cluster, 2)) == ["d-1", "d-2"]


async def test_a_captured_body_is_a_repeat_under_whatever_id_and_name(
    cluster: Cluster, receiver: httpx.AsyncClient
) -> None:
    body = json.dumps(make.ISSUE).encode()
    first = await post(receiver, make.from_github(body=body, delivery="d-1"))
    again = await post(receiver, make.from_github(body=body, delivery="d-2"))
    renamed = await post(receiver, make.from_github(body=body, event="brand_new", delivery="d-3"))
    other = await post(receiver, make.from_github(event="pull_request", body=body))
    await post(receiver, make.from_github(delivery="d-4"))

    assert [a.json()["repeated"] for a in (first, again, renamed)] == [False, True, True]
    assert (other.status_code, "issue is not of pull_request" in other.text) == (400, True)
    assert sorted(m.id for m in await emitted(cluster, 2)) == ["d-1", "d-4"]


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
async def test_the_signed_body_says_whether_it_is_a_form(
    cluster: Cluster, receiver: httpx.AsyncClient, content_type: str
) -> None:
    form = urlencode({"payload": json.dumps(make.ISSUE)}).encode()
    headers = {"content-type": content_type}
    assert (await post(receiver, make.from_github(body=form, headers=headers))).is_success
    [message] = await emitted(cluster)
    assert json.loads(message.data) == make.ISSUE


async def test_a_form_in_a_title_is_a_title(cluster: Cluster, receiver: httpx.AsyncClient) -> None:
    forged = json.dumps({**make.ISSUE, "label": {"name": "forged"}})
    issue = {**make.ISSUE["issue"], "title": f"&payload={forged}&"}
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = await post(receiver, make.from_github({**make.ISSUE, "issue": issue}, headers=form))

    assert answer.status_code == 202
    [message] = await emitted(cluster)
    assert json.loads(message.data)["label"] == {"name": "agent"}


async def test_a_form_is_read_like_json(cluster: Cluster, receiver: httpx.AsyncClient) -> None:
    body = urlencode({"payload": json.dumps(make.ISSUE)}).encode()
    form = {"content-type": "application/x-www-form-urlencoded"}

    response = await post(receiver, make.from_github(body=body, headers=form))

    assert response.status_code == 202
    [message] = await emitted(cluster)
    assert message.datacontenttype == "application/json"
    assert json.loads(message.data) == make.ISSUE


async def test_a_ping_is_answered(receiver: httpx.AsyncClient) -> None:
    response = await post(receiver, make.from_github({"zen": "Keep it simple."}, "ping"))

    assert (response.status_code, response.json()["message"]) == (202, "pong")


@pytest.mark.parametrize("event", ["never_heard_of", "projects_v2_item", "workflow_run"])
async def test_unknown_events_are_accepted(
    cluster: Cluster, receiver: httpx.AsyncClient, event: str
) -> None:
    response = await post(receiver, make.from_github({"action": "shone"}, event))

    assert response.status_code == 202
    [message] = await emitted(cluster)
    assert message.type == f"com.github.{event}.shone"


async def test_a_trace_is_passed_on(cluster: Cluster, receiver: httpx.AsyncClient) -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"

    await post(receiver, make.from_github(delivery="d", headers={"traceparent": trace}))

    [message] = await emitted(cluster)
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
    [message] = await emitted(cluster)
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
    [message] = await emitted(cluster)
    assert (message.id, message.source) == ("msg_1", "/functions/webhook-receiver/pm")
    assert isinstance(envelope.open_(message, (TaskRequested,)), TaskRequested)
