"""The services' clients: what is tried again, and what a service's answer becomes."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

import httpx
import pytest
from starlette.responses import Response

from functions.console.ask import Ask
from functions.dsm_client import dsm
from functions.dsm_client.clients import (
    Backlogs,
    Orchestrator,
    Projects,
    Scrums,
    Services,
    Sprints,
)
from functions.events.sprint import TaskSummary
from functions.kit.clients import Unreadable, path
from functions.kit.clients.service import header_key
from functions.kit.context import Context, Resources
from functions.kit.errors import Conflict, NotFound, NotSent, PermanentError, TemporaryError
from functions.kit.telemetry import correlation
from tests.support.cluster import Cluster
from tests.support.loop_load import serving_others

SUMMARY = {"total_tasks": 2, "completed_tasks": 1, "pending_tasks": 1}


class Peer:
    """A service that gives its answers in turn, the last for ever: (status, JSON, headers)."""

    def __init__(self, *answers: tuple[int, Any, dict[str, str]]) -> None:
        self.answers = list(answers)
        self.keys: list[str | None] = []
        self.baggage: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.responses import JSONResponse

        headers = dict(scope["headers"])
        self.keys.append(headers.get(b"idempotency-key", b"").decode() or None)
        self.baggage.append(headers.get(b"baggage", b"").decode())
        status, content, extra = self.answers[0]
        if len(self.answers) > 1:
            self.answers.pop(0)
        await JSONResponse(content, status, extra)(scope, receive, send)


@pytest.fixture
async def ctx(cluster: Cluster) -> Any:
    resources = Resources({"SERVICE_MAX_ANSWER_BYTES": "64000000"}, transport=cluster)
    yield Context(resources, "test")
    await resources.close()


async def test_a_read_is_tried_again_when_the_service_is_briefly_away(
    cluster: Cluster, ctx: Context
) -> None:
    peer = Peer((503, {"detail": "starting"}, {}), (200, SUMMARY, {}))
    cluster.add("sprint-service", peer)
    assert await dsm(ctx).sprints.summary("S1") == TaskSummary(**SUMMARY)
    assert len(peer.keys) == 2


async def test_a_repeated_write_carries_the_same_key(cluster: Cluster, ctx: Context) -> None:
    peer = Peer((500, {"detail": "oops"}, {}), (200, {}, {}))
    cluster.add("sprint-service", peer)
    await dsm(ctx).sprints.post("/sprints/P1", dict[str, Any], key="k1")
    assert peer.keys == [header_key("k1")] * 2


async def test_a_write_that_may_not_be_repeated_is_tried_again_only_where_it_was_not_sent(
    cluster: Cluster, ctx: Context
) -> None:
    peer = Peer((500, {"detail": "oops"}, {}), (201, {"message": "ok", "tasks_count": 10}, {}))
    cluster.add("backlog-service", peer)
    with pytest.raises(TemporaryError, match="oops"):
        await dsm(ctx).backlogs.generate("P1", key="k1")
    assert peer.keys == [header_key("k1")]
    cluster.down.add("backlog-service")
    with pytest.raises(NotSent, match="backlog-service: connection refused"):
        await dsm(ctx).backlogs.generate("P1", key="k1")
    assert [r.url.path for r in cluster.requests[1:]] == ["/backlogs/P1"] * 3


@pytest.mark.parametrize("name", ["scrum:ÜBER-1:2026-03-02", "x" * 256, "a\nb", " a", "\ud800"])
async def test_a_key_that_no_header_carries_is_a_digest(
    cluster: Cluster, ctx: Context, name: str
) -> None:
    peer = Peer((200, {}, {}))
    cluster.add("sprint-service", peer)
    for _ in range(2):
        await dsm(ctx).sprints.post("/x", dict[str, Any], key=name)
    first, second = peer.keys
    assert first == second
    assert len(first or "") == 64


CALLS: dict[str, Callable[[Services, str], Awaitable[object]]] = {
    "team": lambda s, id: s.projects.team(id),
    "of": lambda s, id: s.sprints.of(id),
    "active": lambda s, id: s.sprints.active(id),
    "summary": lambda s, id: s.sprints.summary(id),
    "detail": lambda s, id: s.sprints.detail(id),
    "tasks": lambda s, id: s.sprints.tasks(id),
    "run_daily_scrum": lambda s, id: s.sprints.run_daily_scrum(id, key="k"),
    "generate": lambda s, id: s.backlogs.generate(id, key="k"),
    "unassigned": lambda s, id: s.backlogs.unassigned(id),
    "run": lambda s, id: s.scrums.run(id, key="k"),
    "orchestrate": lambda s, id: s.orchestrator.orchestrate(id, {}, key="k"),
}


@pytest.mark.parametrize("id", [".", ".."])
@pytest.mark.parametrize("call", CALLS)
async def test_an_id_that_a_url_loses_is_sent_nowhere(
    cluster: Cluster, ctx: Context, call: str, id: str
) -> None:
    with pytest.raises(PermanentError, match=f"{re.escape(repr(id))} is no id"):
        await CALLS[call](dsm(ctx), id)
    assert cluster.requests == []


def test_each_call_with_an_id_in_its_path_is_among_these() -> None:
    services = (Projects, Sprints, Backlogs, Scrums, Orchestrator)
    takes = [
        name
        for service in services
        for name, method in inspect.getmembers(service, inspect.iscoroutinefunction)
        if {"project_id", "sprint_id"} & set(inspect.signature(method).parameters)
    ]
    assert sorted(takes) == sorted(CALLS)


@cache  # not made on the loop that is watched
def projects(megabytes: int) -> bytes:
    """Projects with their sprints."""
    size = megabytes * 1_000_000
    sprints = [{"sprint_id": f"P-S{n}", "status": "completed"} for n in range(20)]
    project = json.dumps({"project_id": "P", "sprints": sprints}).encode()
    return b"[" + (project + b",") * (size // len(project)) + project + b"]"


async def large(scope: Any, receive: Any, send: Any) -> None:
    """As many megabytes of projects as the path says at its end."""
    body = projects(int(scope["path"].rpartition("/")[2]))
    await Response(body, media_type="application/json")(scope, receive, send)


# Of what is read faster there must be more: a turn may take a tenth of a second.
@pytest.mark.parametrize(
    "read",
    [
        lambda ctx: dsm(ctx).sprints.items("/10", dict),
        lambda ctx: dsm(ctx).sprints.get("/30", list[Any]),
        lambda ctx: dsm(ctx).sprints.post("/30", list[Any], key="k"),
        lambda ctx: Ask(ctx).service(dsm(ctx).sprints).read("/30"),
        lambda ctx: Ask(ctx).service(dsm(ctx).sprints).act("/30", "ada"),
    ],
    ids=["items", "get", "post", "console reads", "console acts"],
)
async def test_a_large_answer_is_not_read_on_the_loop(
    cluster: Cluster, ctx: Context, read: Callable[[Context], Awaitable[list[Any]]]
) -> None:
    cluster.add("sprint-service", large)
    projects(10), projects(30)
    async with serving_others():
        found = await read(ctx)
    assert len(found) > 1000


async def test_a_hundred_thousand_sprints_are_read_beside_the_other_requests(
    cluster: Cluster, ctx: Context
) -> None:
    async def ten_megabytes(scope: Any, receive: Any, send: Any) -> None:
        assert scope["path"] == "/sprints/list_projects"
        await large({**scope, "path": "/10"}, receive, send)

    cluster.add("sprint-service", ten_megabytes)
    async with serving_others():
        assert len(await dsm(ctx).sprints.by_project()) > 1000


async def test_an_item_that_cannot_be_read_costs_no_other(cluster: Cluster, ctx: Context) -> None:
    answer = rb'[{"id": "A"}, {"id": null}, 7, {"name": "x"}, {"id": "\ud800\u0000"}, {"id": "B"}]'

    async def peer(scope: Any, receive: Any, send: Any) -> None:
        await Response(answer, media_type="application/json")(scope, receive, send)

    cluster.add("project-service", peer)
    found = await dsm(ctx).projects.all_ids()
    assert [one for one in found if isinstance(one, str)] == ["A", "\\ud800\\0", "B"]
    assert len([one for one in found if isinstance(one, Unreadable)]) == 3


async def test_a_connection_that_is_refused_is_reported_so() -> None:
    resources = Resources({"SPRINT_SERVICE_URL": "http://127.0.0.1:1"})
    with pytest.raises(NotSent, match="sprint-service: connection refused"):
        await dsm(Context(resources, "test")).sprints.summary("S1")
    await resources.close()


async def test_a_connection_that_breaks_after_the_request_is_not_called_unsent() -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.close()

    server = await asyncio.start_server(rude, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    resources = Resources({"BACKLOG_SERVICE_URL": f"http://127.0.0.1:{port}"})
    with pytest.raises(TemporaryError) as caught:
        await dsm(Context(resources, "test")).backlogs.generate("P", key="k")
    assert type(caught.value) is TemporaryError
    await resources.close()
    server.close()


async def test_a_call_says_what_it_is_made_for(cluster: Cluster, ctx: Context) -> None:
    peer = Peer((201, {"message": "ok", "tasks_count": 10}, {}))
    cluster.add("backlog-service", peer)
    why = {"correlationid": "tick, größer", "causationid": "e", "partitionkey": "no"}
    with correlation.correlated(why):
        await dsm(ctx).backlogs.generate("P1", key="k1")
    await dsm(ctx).backlogs.generate("P1", key="k2")
    assert peer.baggage == ["correlationid=tick%2C%20gr%C3%B6%C3%9Fer,causationid=e", ""]
    assert peer.keys == [header_key("k1"), header_key("k2")]


@pytest.mark.parametrize(
    ("status", "kind", "tries"),
    [
        (400, PermanentError, 1),
        (404, NotFound, 1),
        (409, Conflict, 1),
        (422, PermanentError, 1),
        (429, TemporaryError, 3),
        (500, TemporaryError, 3),
        (503, TemporaryError, 3),
    ],
)
async def test_an_error_is_raised_with_the_services_own_message(
    cluster: Cluster, ctx: Context, status: int, kind: type[Exception], tries: int
) -> None:
    peer = Peer((status, {"detail": "the words " + "x" * 1000}, {"Retry-After": "9"}))
    cluster.add("sprint-service", peer)
    with pytest.raises(kind, match=f"sprint-service answered {status}: the words") as caught:
        await dsm(ctx).sprints.summary("S1")
    assert len(peer.keys) == tries
    assert len(str(caught.value)) < 300
    assert getattr(caught.value, "delay_s", 9.0) == 9.0


async def test_a_service_that_is_away_is_temporary(cluster: Cluster, ctx: Context) -> None:
    with pytest.raises(TemporaryError, match="sprint-service: connection refused"):
        await dsm(ctx).sprints.summary("S1")


@pytest.mark.parametrize(
    "answer", [{"total_tasks": "many"}, [], None], ids=["wrong type", "wrong shape", "nothing"]
)
async def test_an_answer_that_cannot_be_read_is_permanent(
    cluster: Cluster, ctx: Context, answer: Any
) -> None:
    cluster.add("sprint-service", Peer((200, answer, {})))
    with pytest.raises(PermanentError, match="answered what we cannot read"):
        await dsm(ctx).sprints.summary("S1")


async def test_ids_are_quoted_in_paths(cluster: Cluster, ctx: Context) -> None:
    cluster.add("sprint-service", Peer((200, SUMMARY, {})))
    await dsm(ctx).sprints.summary("a/../b?c")
    assert cluster.requests[-1].url.raw_path == b"/sprints/a%2F..%2Fb%3Fc/task-summary"
    assert path("a b", "ü") == "/a%20b/%C3%BC"


async def test_connections_are_limited_and_timeouts_are_in_seconds() -> None:
    resources = Resources({"SERVICE_TIMEOUT_S": "3", "SERVICE_CONNECTIONS": "5"})
    assert resources.http.timeout == httpx.Timeout(3, connect=5.0)
    await resources.close()
