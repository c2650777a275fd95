"""What is wrong with one run, one event or the database for a while, and harms no other."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from functions.kit import cloudevents
from functions.kit.durable import Connection, Relay, Store
from functions.kit.durable.group_commit import MAX_ITEMS
from functions.kit.errors import PermanentError, TemporaryError
from functions.kit.settings import DatabaseSettings
from functions.orchestrator.conditions import flaw_of
from functions.orchestrator.engine.batch import Done, Item, Start
from functions.orchestrator.engine.deduplication import Claim
from functions.orchestrator.engine.engine import Engine
from functions.orchestrator.orchestrator import Orchestrator, new_flow_id
from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.saga_world import SagaWorld

UNKNOWN = "00000000-0000-7000-8000-000000000000"
TICK = cloudevents.from_json(
    {"specversion": "1.0", "id": "1", "source": "/ping", "schedule": "saga-sweep"}
    | {"type": "dev.knative.sources.ping", "time": "2026-01-05T09:00:00Z", "data": {}}
)
READ_ONLY = """DO $$ BEGIN EXECUTE format(
    'ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$"""
DISCONNECT = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()"""


@pytest.fixture
def world(cluster: Cluster, functions_database: str) -> SagaWorld:
    return SagaWorld(cluster, functions_database)


async def sql(world: SagaWorld, statement: str) -> None:
    connection = await asyncpg.connect(world.database)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def register(world: SagaWorld, name: str, *steps: dict[str, Any]) -> None:
    """An orchestration of these steps."""
    body = {"orchName": name, "as": "initiator", "type": "sequential", "steps": list(steps)}
    await world.post("register", json=body)


async def work(world: SagaWorld, name: str, *steps: str) -> None:
    """The worker `w` for these steps."""
    body = {"orchName": name, "as": "worker", "steps": [{"name": step} for step in steps]}
    await world.post("register", json=body, headers={"X-Service-Name": "w"})


def success(flow_id: str, step: str, action: str = "DO") -> cloudevents.Message:
    data = {"flowId": flow_id, "stepName": step, "attempt": 1, "workerName": "w", "action": action}
    return cloudevents.from_json(
        {"id": f"{flow_id}/{step}/{action}", "source": "/w", "specversion": "1.0"}
        | {"type": "io.dsm.saga.step.answered.v1"}
        | {"data": data | {"metadata": {"status": "SUCCESS"}}}
    )


class TestConditions:
    async def test_a_condition_that_raises_fails_its_step_and_no_other(
        self, world: SagaWorld
    ) -> None:
        await register(world, "bad", {"name": "a", "when": "payload[::0]"})
        await register(world, "good", {"name": "a"})
        bad = (await world.post("execute/bad", json=[1]))["flowId"]
        good = (await world.post("execute/good", json=[1]))["flowId"]
        await work(world, "bad", "a")
        await work(world, "good", "a")
        assert (await world.cluster.tell("orchestrator", TICK)).status_code == 202
        run = await world.get(f"orchestrations/bad/executions/{bad}")
        assert run["status"] == "FAILED"
        assert "condition 'payload[::0]' cannot be evaluated: slice step cannot" in run["reason"]
        assert (await world.get(f"orchestrations/good/executions/{good}"))["steps"][0]["attempts"]

    async def test_a_condition_that_costs_too_much_fails_its_step_once(
        self, world: SagaWorld
    ) -> None:
        when = "length(payload" + "|[@,@][]" * 25 + ") > `0`"
        await register(world, "bad", {"name": "a", "when": when})
        flow_id = (await world.post("execute/bad", json=[1]))["flowId"]
        await work(world, "bad", "a")
        run = await world.get(f"orchestrations/bad/executions/{flow_id}")
        assert run["status"] == "FAILED"
        assert "cannot be evaluated: it costs more than 50000 evaluations" in run["reason"]
        # A process that starts afterwards finds nothing to evaluate.
        assert (await world.cluster.tell("orchestrator", TICK)).status_code == 202
        history = await world.get(f"audit/{flow_id}?eventType=STEP_FAILED")
        assert len(history) == 1

    async def test_a_success_counts_though_the_next_condition_cannot_be_evaluated(
        self, world: SagaWorld
    ) -> None:
        when = "ceil(to_number(payload.x)) > `5`"
        await register(world, "huge", {"name": "a"}, {"name": "b", "when": when})
        await work(world, "huge", "a", "b")
        flow_id = (await world.post("execute/huge", json={"x": "1e999"}))["flowId"]
        answer = success(flow_id, "a")
        assert (await world.cluster.tell("orchestrator", answer)).status_code == 202
        run = await world.get(f"orchestrations/huge/executions/{flow_id}")
        assert [step["status"] for step in run["steps"]] == ["UNDOING", "DO_FAIL"]

    @pytest.mark.parametrize(
        "when", ["(" * 499 + "a" + ")" * 499, "!" * 999 + "a", "a[`"], ids=["parens", "nots", "["]
    )
    async def test_a_condition_that_cannot_be_read_is_refused(self, when: str) -> None:
        flaw = flaw_of(when)
        assert flaw is not None
        assert flaw.startswith("is no JMESPath: ")

    async def test_what_a_condition_quotes_can_be_kept(self, world: SagaWorld) -> None:
        await register(world, "nul", {"name": "a", "when": 'ceil(`"\\u0000"`)'})
        await work(world, "nul", "a")
        started = await world.post("execute/nul")
        assert (started["status"], started["run"]) == ("FAILED", "FAILED")
        assert "condition 'ceil(" in started["reason"]

    async def test_who_waits_for_a_run_that_fails_gets_the_reason(self, world: SagaWorld) -> None:
        when = "payload.list[::0]"
        await register(world, "late", {"name": "a"}, {"name": "b", "when": when})
        await work(world, "late", "a", "b")
        waiting = asyncio.create_task(world.post("execute/late?wait=20", json={"list": [1]}))
        flow_id = (await world.command("a")).json()["flowId"]
        assert (await world.cluster.tell("orchestrator", success(flow_id, "a"))).status_code == 202

        async def turned_back() -> bool:
            return (await world.command("a")).extensions["action"] == "UNDO"

        await eventually(turned_back)
        answer = success(flow_id, "a", action="UNDO")
        assert (await world.cluster.tell("orchestrator", answer)).status_code == 202
        started = await waiting
        assert (started["status"], started["run"]) == ("FAILED", "UNDONE")
        assert "step b failed: condition" in started["reason"]


class TestTimerLoop:
    async def test_a_run_that_cannot_be_woken_starves_no_other(
        self, world: SagaWorld, caplog: pytest.LogCaptureFixture
    ) -> None:
        await register(world, "one", {"name": "a", "timeout": 0.05, "retry": {"attempts": 1}})
        await work(world, "one", "a")
        bad, good = [(await world.post("execute/one"))["flowId"] for _ in range(2)]
        # A status that no version of the program has written.
        await sql(
            world,
            f"UPDATE orchestration_step_run SET status = 'LOST' WHERE flow_id = '{bad}'",
        )

        async def failed() -> bool:
            found = await world.get(f"orchestrations/one/executions/{good}")
            return bool(found["status"] == "UNDO_FAILED")

        await eventually(failed)
        response = await world.cluster.tell("orchestrator", TICK)
        assert response.status_code == 202

    async def test_the_timer_loop_outlives_an_unexpected_error(
        self, world: SagaWorld, caplog: pytest.LogCaptureFixture
    ) -> None:
        await world.register("realm-service", "client-service")
        timer_loop = world.ctx.part(Orchestrator).timer_loop
        await sql(world, "ALTER TABLE orchestration_run RENAME COLUMN timer_at TO lost")
        with caplog.at_level(logging.WARNING):

            async def pauses() -> bool:
                timer_loop.at(timer_loop.last_fired_at)
                return "the timer loop pauses: UndefinedColumnError" in caplog.text

            await eventually(pauses)
        silent_since = timer_loop.last_fired_at
        await sql(world, "ALTER TABLE orchestration_run RENAME COLUMN lost TO timer_at")

        async def looks_again() -> bool:
            return timer_loop.last_fired_at > silent_since

        await eventually(looks_again)
        await world.until(await world.execute(tenantId="t"), "COMPLETED")


async def test_a_database_that_may_only_be_read_is_503(world: SagaWorld) -> None:
    await world.register("realm-service", "client-service")
    # What a failover looks like: the old primary is a standby.
    await sql(world, READ_ONLY)
    await sql(world, DISCONNECT)
    start, register = "execute/tenantCreation", "register/tenantCreation/realm-service"
    responses = [
        await world.api.post(f"/api/orchestration/{start}"),
        await world.api.delete(f"/api/orchestration/{register}"),
    ]
    assert [r.status_code for r in responses] == [503, 503]


class TestNeighbours:
    """Who arrives together with what is bad is not harmed by it."""

    async def test_an_item_that_the_database_refuses_spoils_no_other(
        self, world: SagaWorld
    ) -> None:
        await world.register("realm-service", "client-service")
        saga = world.ctx.part(Orchestrator)
        # What an index cannot hold, as it does not shrink.
        big = secrets.token_hex(6000)
        starts = [
            saga.start(Start("tenantCreation"), Claim("/t", big if n == 5 else str(n), "start"))
            for n in range(12)
        ]
        results = await asyncio.gather(*starts, return_exceptions=True)
        bad = [n for n, result in enumerate(results) if isinstance(result, Exception)]
        assert bad == [5]
        assert isinstance(results[5], PermanentError)
        assert await world.count("orchestration_run") == 11

    async def test_who_waits_behind_a_broken_connection_gets_another(
        self, world: SagaWorld
    ) -> None:
        await world.register("realm-service", "client-service")
        connections = 0

        class Breaking(Store):
            """Its first connection breaks after it was got."""

            @asynccontextmanager
            async def transaction(self) -> AsyncIterator[Connection]:
                nonlocal connections
                connections += 1
                async with super().transaction() as connection:
                    if connections == 1:
                        await connection.close()
                    yield connection

        store = Breaking(DatabaseSettings(database_url=world.database))
        relay = Relay(store, world.ctx.publisher)
        alone = Engine(store, relay, world.ctx.resources.now, concurrency=1)
        items = [Item(new_flow_id(), Start("tenantCreation")) for _ in range(MAX_ITEMS + 1)]
        results = await asyncio.gather(*map(alone.submit, items), return_exceptions=True)
        await alone.close()
        await store.close()
        failed = [result for result in results if isinstance(result, Exception)]
        assert len(failed) == MAX_ITEMS
        assert all(isinstance(error, TemporaryError) for error in failed)
        assert isinstance(results[-1], Done)

    @pytest.mark.parametrize("attribute", ["id", "source"])
    async def test_an_identity_that_is_too_long_is_refused(
        self, world: SagaWorld, attribute: str
    ) -> None:
        message = success(UNKNOWN, "a")
        message = (
            dataclasses.replace(message, id="x" * 256)
            if attribute == "id"
            else dataclasses.replace(message, source="x" * 256)
        )
        response = await world.cluster.tell("orchestrator", message)
        assert response.status_code == 400
        assert f"{attribute} has 256 characters, the maximum is 255" in response.json()["detail"]
