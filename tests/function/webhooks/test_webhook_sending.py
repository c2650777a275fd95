"""How the relay sends: each delivery by itself; only what is no event for a broker is given up."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from tests.function.webhooks.test_webhook_relay import (
    BEARER,
    BROKER,
    deliveries,
    in_state,
    make_due,
    tick,
)
from tests.support import eventually
from tests.support import webhook_requests as make
from tests.support.cluster import Cluster, Scope
from tests.support.webhook_requests import post


async def test_one_that_the_broker_is_slow_with_holds_up_no_other(
    cluster: Cluster, receiver: httpx.AsyncClient, webhook_database: str
) -> None:
    answering, asked = asyncio.Event(), asyncio.Event()

    async def slow_with_one(scope: Scope, receive: Any, send: Any) -> None:
        if Request(scope).headers["ce-id"] == "slow":
            asked.set()
            await answering.wait()
        await cluster.sink(scope, receive, send)

    cluster.add(BROKER, slow_with_one)
    await post(receiver, make.from_github(delivery="slow"))
    await asked.wait()
    other = {**make.ISSUE, "issue": {**make.ISSUE["issue"], "number": 8}}
    for n in range(40):
        await post(receiver, make.from_github(other, delivery=f"d-{n}"))

    async def others_are_noted() -> bool:
        return len(await deliveries(receiver, "?state=published")) == 40

    await eventually(others_are_noted)
    # No row is locked and no transaction open while the broker takes its time.
    connection = await asyncpg.connect(webhook_database)
    async with asyncio.timeout(60):
        await connection.execute("UPDATE delivery SET size = size")
    await connection.close()
    answering.set()
    await eventually(lambda: _count(cluster, 41))


async def _count(cluster: Cluster, count: int) -> bool:
    return len(cluster.sink.messages) == count


@pytest.mark.parametrize("status", [301, 401, 403, 404, 405, 418])
async def test_an_answer_that_is_not_about_the_event_gives_nothing_up(
    cluster: Cluster, receiver: httpx.AsyncClient, webhook_database: str, status: int
) -> None:
    refusing = True

    async def broker(scope: Scope, receive: Any, send: Any) -> None:
        if refusing:
            await Response(status_code=status)(scope, receive, send)
        else:
            await cluster.sink(scope, receive, send)

    cluster.add(BROKER, broker)
    await post(receiver, make.from_github(delivery="d-1"))

    async def tried() -> bool:
        [shown] = await deliveries(receiver)
        return shown["state"] == "accepted" and str(status) in (shown["last_error"] or "")

    await eventually(tried)
    refusing = False
    await make_due(webhook_database)
    await tick(cluster)
    await in_state(receiver, "published")


async def test_all_that_failed_is_sent_again_by_one_request(
    cluster: Cluster, receiver: httpx.AsyncClient
) -> None:
    cluster.sink.statuses = [400, 413, 422]
    for n in range(3):
        await post(receiver, make.from_github(delivery=f"d-{n}"))

    async def all_failed() -> bool:
        return len(await deliveries(receiver, "?state=failed")) == 3

    await eventually(all_failed)

    for query, count in (("?since=2999-01-01T00:00:00Z", 0), ("?source=pm", 0), ("", 3)):
        again = await receiver.post(f"/deliveries/redeliver{query}", headers=BEARER)
        assert (again.status_code, again.json()) == (202, {"redelivered": count})
    await eventually(lambda: _count(cluster, 3))
    for query in ("?since=soon", "?state=published", "?state=accepted"):
        again = await receiver.post(f"/deliveries/redeliver{query}", headers=BEARER)
        assert again.status_code == 400
    assert (await receiver.post("/deliveries/redeliver")).status_code == 401
