"""The services' clients: what is tried again, and what a service's answer becomes."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from functions.events.sprint import TaskSummary
from functions.kit import cause
from functions.kit.context import Context, Resources
from functions.kit.errors import Conflict, NotFound, PermanentError, TemporaryError
from functions.kit.services import path
from tests.cluster import Cluster

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
    resources = Resources({}, transport=cluster)
    yield Context(resources, "test")
    await resources.close()


async def test_a_read_is_tried_again_when_the_service_is_briefly_away(
    cluster: Cluster, ctx: Context
) -> None:
    peer = Peer((503, {"detail": "starting"}, {}), (200, SUMMARY, {}))
    cluster.add("sprint-service", peer)
    assert await ctx.services.sprints.summary("S1") == TaskSummary(**SUMMARY)
    assert len(peer.keys) == 2


async def test_a_repeated_write_carries_the_same_key(cluster: Cluster, ctx: Context) -> None:
    peer = Peer((500, {"detail": "oops"}, {}), (201, {"message": "ok", "tasks_count": 10}, {}))
    cluster.add("backlog-service", peer)
    await ctx.services.backlogs.generate("P1", key="k1")
    assert peer.keys == ["k1", "k1"]


async def test_a_call_says_what_it_is_made_for(cluster: Cluster, ctx: Context) -> None:
    peer = Peer((201, {"message": "ok", "tasks_count": 10}, {}))
    cluster.add("backlog-service", peer)
    why = {"correlationid": "tick, größer", "causationid": "e", "partitionkey": "no"}
    with cause.acting(why):
        await ctx.services.backlogs.generate("P1", key="k1")
    await ctx.services.backlogs.generate("P1", key="k2")
    assert peer.baggage == ["correlationid=tick%2C%20gr%C3%B6%C3%9Fer,causationid=e", ""]
    assert peer.keys == ["k1", "k2"]


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
async def test_an_error_is_raised_in_the_services_own_words(
    cluster: Cluster, ctx: Context, status: int, kind: type[Exception], tries: int
) -> None:
    peer = Peer((status, {"detail": "the words " + "x" * 1000}, {"Retry-After": "9"}))
    cluster.add("sprint-service", peer)
    with pytest.raises(kind, match=f"sprint-service answered {status}: the words") as caught:
        await ctx.services.sprints.summary("S1")
    assert len(peer.keys) == tries
    assert len(str(caught.value)) < 300
    assert getattr(caught.value, "delay_s", 9.0) == 9.0


async def test_a_service_that_is_away_is_temporary(cluster: Cluster, ctx: Context) -> None:
    with pytest.raises(TemporaryError, match="sprint-service: ConnectError"):
        await ctx.services.sprints.summary("S1")


@pytest.mark.parametrize(
    "answer", [{"total_tasks": "many"}, [], None], ids=["wrong type", "wrong shape", "nothing"]
)
async def test_an_answer_that_cannot_be_read_is_permanent(
    cluster: Cluster, ctx: Context, answer: Any
) -> None:
    cluster.add("sprint-service", Peer((200, answer, {})))
    with pytest.raises(PermanentError, match="answered what we cannot read"):
        await ctx.services.sprints.summary("S1")


async def test_ids_are_quoted_in_paths(cluster: Cluster, ctx: Context) -> None:
    cluster.add("sprint-service", Peer((200, SUMMARY, {})))
    await ctx.services.sprints.summary("a/../b?c")
    assert cluster.requests[-1].url.raw_path == b"/sprints/a%2F..%2Fb%3Fc/task-summary"
    assert path("a b", "ü") == "/a%20b/%C3%BC"


async def test_connections_are_limited_and_patience_is_in_seconds() -> None:
    resources = Resources({"SERVICE_TIMEOUT_S": "3", "SERVICE_CONNECTIONS": "5"})
    assert resources.http.timeout == httpx.Timeout(3, connect=5.0)
    await resources.close()
