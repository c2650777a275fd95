"""What was acknowledged reaches the broker, whatever happens; and the ledger shows it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import asyncpg
import httpx
import pytest

from functions.events.schedule import ScheduleDue
from functions.kit.durable.retention import forget
from functions.webhook_receiver.main import retention, webhook_receiver
from functions.webhook_receiver.senders import standard_webhooks
from tests.support import eventually, named_by_parts
from tests.support import webhook_requests as make
from tests.support.cluster import Cluster, Scope
from tests.support.webhook_requests import post

BROKER = "broker-ingress"
BEARER = {"authorization": f"Bearer {make.TOKEN}"}


async def deliveries(client: httpx.AsyncClient, query: str = "") -> list[dict[str, Any]]:
    response = await client.get(f"/deliveries{query}", headers=BEARER)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["deliveries"]
    return found


async def in_state(client: httpx.AsyncClient, state: str) -> list[dict[str, Any]]:
    async def found() -> list[dict[str, Any]]:
        return await deliveries(client, f"?state={state}")

    return await eventually(found)


async def tick(cluster: Cluster) -> httpx.Response:
    return await cluster.tell(
        "webhook-receiver", ScheduleDue(schedule="webhook-relay", time=make.NOW)
    )


async def make_due(url: str) -> None:
    """Let time pass."""
    connection = await asyncpg.connect(url)
    await connection.execute("UPDATE outbox_event SET leased_until = NULL")
    await connection.close()


async def test_a_published_delivery_is_shown_without_its_data(
    receiver: httpx.AsyncClient,
) -> None:
    await post(receiver, make.from_github(delivery="d-1"))

    [shown] = await in_state(receiver, "published")
    assert (shown["source"], shown["id"], shown["attempts"]) == ("github", "d-1", 0)
    assert (shown["type"], shown["subject"]) == ("com.github.issue.labeled", "7")
    assert shown["received_at"].startswith("20")
    assert "data" not in shown


async def test_a_broker_that_is_down_delays_no_acknowledgement_and_gets_it_later(
    cluster: Cluster, receiver: httpx.AsyncClient, webhook_database: str
) -> None:
    cluster.down.add(BROKER)
    response = await post(receiver, make.from_github(delivery="d-1"))
    assert response.status_code == 202

    async def tried() -> bool:
        [shown] = await deliveries(receiver)
        return bool(shown["attempts"] and "connection refused" in shown["last_error"])

    await eventually(tried)
    cluster.down.clear()
    await make_due(webhook_database)

    assert (await tick(cluster)).status_code == 202

    await in_state(receiver, "published")
    assert [m.id for m in cluster.sink.messages] == ["d-1"]


async def test_a_broker_that_comes_back_gets_it_without_a_tick(
    cluster: Cluster, receiver: httpx.AsyncClient
) -> None:
    cluster.sink.statuses = [503, 500, 429]
    await post(receiver, make.from_github(delivery="d-1"))

    await in_state(receiver, "published")
    assert [m.id for m in cluster.sink.messages] == ["d-1"]


async def test_a_broker_that_hangs_delays_no_acknowledgement(
    cluster: Cluster, receiver: httpx.AsyncClient
) -> None:
    answering, asked = asyncio.Event(), asyncio.Event()

    async def slow(scope: Scope, receive: Any, send: Any) -> None:
        asked.set()
        await answering.wait()
        await cluster.sink(scope, receive, send)

    cluster.add(BROKER, slow)
    await post(receiver, make.from_github(delivery="d-0"))
    await asked.wait()
    async with asyncio.timeout(60):
        for n in range(1, 40):
            assert (await post(receiver, make.from_github(delivery=f"d-{n}"))).status_code == 202
    answering.set()

    async def all_arrived() -> bool:
        return {m.id for m in cluster.sink.messages} == {f"d-{n}" for n in range(40)}

    await eventually(all_arrived)
    assert len(cluster.sink.messages) == 40


async def test_what_the_broker_refuses_for_good_has_failed_and_can_be_sent_again(
    cluster: Cluster, receiver: httpx.AsyncClient
) -> None:
    cluster.sink.statuses = [400]
    await post(receiver, make.from_github(delivery="d-1"))
    [shown] = await in_state(receiver, "failed")
    assert "400" in shown["last_error"]

    again = await receiver.post("/deliveries/d-1/redeliver", headers=BEARER)

    assert (again.status_code, again.json()["state"]) == (202, "accepted")
    [shown] = await in_state(receiver, "published")
    assert shown["last_error"] is None
    assert [m.id for m in cluster.sink.messages] == ["d-1"]


@pytest.mark.parametrize("by_parts", [False, True], ids=["DATABASE_URL", "POSTGRES_*"])
async def test_a_process_goes_on_with_what_another_left(
    cluster: Cluster, webhook_database: str, by_parts: bool
) -> None:
    environ = {"DATABASE_URL": webhook_database, **make.SECRETS}
    if by_parts:
        environ = {**named_by_parts(webhook_database), **make.SECRETS}
    first = cluster.deploy(webhook_receiver, environ, now=make.clock)
    cluster.down.add(BROKER)
    async with cluster.client("webhook-receiver") as client:
        for n in range(20):
            await post(client, make.from_github(delivery=f"d-{n}"))
    await first.resources.close()
    cluster.down.clear()
    await make_due(webhook_database)

    cluster.deploy(webhook_receiver, environ, now=make.clock)
    await tick(cluster)

    async def all_arrived() -> bool:
        return {m.id for m in cluster.sink.messages} == {f"d-{n}" for n in range(20)}

    await eventually(all_arrived)


async def test_two_processes_send_nothing_twice(cluster: Cluster, webhook_database: str) -> None:
    environ = {"DATABASE_URL": webhook_database, **make.SECRETS}
    cluster.down.add(BROKER)
    contexts = [cluster.deploy(webhook_receiver, environ, now=make.clock)]
    async with cluster.client("webhook-receiver") as client:
        await asyncio.gather(
            *(post(client, make.from_github(delivery=f"d-{n}")) for n in range(100))
        )
    await contexts[0].resources.close()
    cluster.down.clear()
    await make_due(webhook_database)

    contexts = [cluster.deploy(webhook_receiver, environ, now=make.clock) for _ in range(3)]
    relays = [ctx.resources.durable.relay for ctx in contexts]
    for relay in relays:
        relay.start()

    async def all_sent() -> bool:
        return len(cluster.sink.messages) >= 100

    await eventually(all_sent)
    await asyncio.gather(*(relay.idle() for relay in relays))
    assert len(cluster.sink.messages) == 100
    assert len({m.id for m in cluster.sink.messages}) == 100


async def test_a_hundred_repeats_at_once_are_one_delivery(
    cluster: Cluster, receiver: httpx.AsyncClient
) -> None:
    request = make.from_github(delivery="d-1")

    answers = await asyncio.gather(*(post(receiver, request) for _ in range(100)))

    assert [a.status_code for a in answers] == [202] * 100
    assert sum(not a.json()["repeated"] for a in answers) == 1
    await in_state(receiver, "published")
    assert len(cluster.sink.messages) == 1


async def test_old_deliveries_are_forgotten_and_unsent_ones_never(
    cluster: Cluster, webhook_database: str
) -> None:
    ctx = cluster.deploy(
        webhook_receiver, {"DATABASE_URL": webhook_database, **make.SECRETS}, now=make.clock
    )
    async with cluster.client("webhook-receiver") as client:
        await post(client, make.from_github(delivery="old"))
        await post(client, make.from_github(delivery="new"))

        async def both_are_published() -> bool:
            return len(await deliveries(client, "?state=published")) == 2

        await eventually(both_are_published)
        cluster.down.add(BROKER)
        await post(client, make.from_github(delivery="unsent"))
        connection = await asyncpg.connect(webhook_database)
        await connection.execute(
            "UPDATE delivery SET received_at = now() - interval '40 days' WHERE id <> 'new'"
        )
        await connection.close()

        await forget(ctx.store, ctx.function, rules=retention(ctx))

        assert [d["id"] for d in await deliveries(client)] == ["unsent", "new"]


async def test_what_the_version_before_has_left_unsent_is_taken_over_at_a_tick(
    cluster: Cluster, receiver: httpx.AsyncClient, webhook_database: str
) -> None:
    before = """INSERT INTO delivery (source, id, type, attributes, data, size, state, due_at)
        VALUES ('github', $1, 'com.github.issue.labeled', $2, '{"a":  1}', 9, $3, $4)"""
    connection = await asyncpg.connect(webhook_database)
    for id, state, due_in_s in (("left", "accepted", -1), ("held", "accepted", 3600)):
        attributes = {
            **{"id": id, "source": "https://api.github.com/repos/o/r", "type": "com.github.x"},
            **{"datacontenttype": "application/json", "partitionkey": "7", "subject": "7"},
        }
        due_at = await connection.fetchval("SELECT now() + make_interval(secs => $1)", due_in_s)
        await connection.execute(before, id, json.dumps(attributes), state, due_at)
    await connection.close()

    await tick(cluster)
    await in_state(receiver, "published")

    (sent,) = cluster.sink.messages
    assert (sent.id, sent.data, sent.subject) == ("left", b'{"a":  1}', "7")
    assert [d["id"] for d in await deliveries(receiver, "?state=accepted")] == ["held"]
    await tick(cluster)
    assert len(cluster.sink.messages) == 1


class TestLooking:
    async def test_deliveries_come_in_pages(self, receiver: httpx.AsyncClient) -> None:
        for n in range(5):
            await post(receiver, make.from_github(delivery=f"d-{n}"))
        seen, cursor = [], ""
        while True:
            page = (await receiver.get(f"/deliveries?limit=2{cursor}", headers=BEARER)).json()
            seen += [d["id"] for d in page["deliveries"]]
            if page["next"] is None:
                break
            cursor = f"&cursor={page['next']}"
        assert seen == ["d-4", "d-3", "d-2", "d-1", "d-0"]

    async def test_they_are_chosen_by_source(self, receiver: httpx.AsyncClient) -> None:
        await post(receiver, make.from_github())
        await post(receiver, make.from_agent(id="msg_1"))
        assert [d["id"] for d in await deliveries(receiver, "?source=pm")] == ["msg_1"]

    @pytest.mark.parametrize(
        "query", ["state=lost", "source=x", "limit=0", "limit=501", "limit=a", "cursor=-1"]
    )
    async def test_a_wrong_query_is_named(self, receiver: httpx.AsyncClient, query: str) -> None:
        response = await receiver.get(f"/deliveries?{query}", headers=BEARER)
        assert response.status_code == 400
        assert response.json()["detail"].startswith(query.partition("=")[0])

    async def test_an_unknown_delivery_is_404(self, receiver: httpx.AsyncClient) -> None:
        response = await receiver.post("/deliveries/nothing/redeliver", headers=BEARER)
        assert response.status_code == 404

    async def test_an_id_that_two_sources_share_needs_the_source(
        self, receiver: httpx.AsyncClient
    ) -> None:
        await post(receiver, make.from_github(delivery="same"))
        await post(receiver, make.from_agent(id="same"))
        response = await receiver.post("/deliveries/same/redeliver", headers=BEARER)
        assert response.status_code == 409
        response = await receiver.post("/deliveries/same/redeliver?source=pm", headers=BEARER)
        assert response.status_code == 202

    @pytest.mark.parametrize(
        "headers",
        [{}, {"authorization": "Bearer other"}, {"authorization": "Bearer é"}],
        ids=["none", "other token", "not ASCII"],
    )
    async def test_no_other_user_may_look(
        self, receiver: httpx.AsyncClient, headers: dict[str, str]
    ) -> None:
        encoded = {name.encode(): value.encode() for name, value in headers.items()}
        assert (await receiver.get("/deliveries", headers=encoded)).status_code == 401

    async def test_a_signature_for_looking_is_none_for_sending(
        self, receiver: httpx.AsyncClient
    ) -> None:
        await post(receiver, make.from_github(delivery="d-1"))
        key = standard_webhooks.key(make.CLI)
        signed = standard_webhooks.headers(
            key, "msg_1", int(make.NOW.timestamp()), b"GET /deliveries?limit=1"
        )
        assert (await receiver.get("/deliveries?limit=1", headers=signed)).status_code == 200
        assert (await receiver.get("/deliveries?limit=2", headers=signed)).status_code == 401
        response = await receiver.post("/deliveries/d-1/redeliver", headers=signed)
        assert response.status_code == 401
