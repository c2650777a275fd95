"""What goes on by itself: the outbox, timers, and several processes at once."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import stamina

from functions.client_service import tables as clients
from functions.events.saga import StepAnswered, StepCommanded
from functions.kit import cloudevents
from functions.kit.durable.retention import forget
from functions.orchestrator.engine.batch import Start
from functions.orchestrator.engine.deduplication import Claim
from functions.orchestrator.gauges import gauges
from functions.orchestrator.orchestrator import Orchestrator
from functions.orchestrator.retention import retention
from functions.realm_service import tables as realms
from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.loop_load import serving_others
from tests.support.saga_world import TENANT, SagaWorld


@pytest.fixture
def world(cluster: Cluster, functions_database: str) -> SagaWorld:
    return SagaWorld(cluster, functions_database)


class TestOutbox:
    async def test_a_broker_that_is_away_for_a_moment_costs_a_moment(
        self, world: SagaWorld
    ) -> None:
        await world.register("realm-service", "client-service")
        world.cluster.sink.statuses = [503, 503, 503]
        with stamina.set_testing(False):
            flow_id = await world.execute(tenantId="t")
            await world.until(flow_id, "COMPLETED")

    async def test_what_a_dead_process_left_is_sent_by_the_next_round(
        self, world: SagaWorld
    ) -> None:
        await world.register("realm-service", "client-service")
        world.cluster.down.add("broker-ingress")
        flow_id = await world.execute(tenantId="t")
        await world.ctx.resources.close()
        world.cluster.down.clear()
        connection = await asyncpg.connect(world.database)
        await connection.execute("UPDATE outbox_event SET leased_until = NULL")
        await connection.close()
        again = SagaWorld(world.cluster, world.database)
        tick = cloudevents.from_json(
            {"specversion": "1.0", "id": "1", "source": "/ping", "schedule": "saga-sweep"}
            | {"type": "dev.knative.sources.ping", "time": "2026-01-05T09:00:00Z", "data": {}}
        )
        assert (await again.cluster.tell("orchestrator", tick)).status_code == 202
        await again.until(flow_id, "COMPLETED")


class TestTimers:
    async def test_a_step_without_an_answer_times_out_and_goes_again(
        self, world: SagaWorld
    ) -> None:
        retry = {"attempts": 2, "backoff": "PT0.05S"}
        step = {"name": "createRealm", "timeout": 0.1, "retry": retry}
        await world.post("register", json=TENANT | {"steps": [step]})
        await world.work_for("realm-service")
        flow_id = await world.execute(tenantId="t")

        async def failed() -> Any:
            run = await world.run(flow_id)
            return run if run["status"] in ("UNDOING", "UNDO_FAILED") else None

        run = await eventually(failed)
        assert run["steps"][0]["attempts"] == 2
        assert run["reason"].endswith("no answer from realm-service within 0.1 s")
        await world.carry()
        assert (await world.until(flow_id, "UNDONE"))["rolledBackSteps"] == 1
        assert await world.count("realm") == 0


async def test_two_processes_share_the_work_and_do_nothing_twice(
    cluster: Cluster, functions_database: str
) -> None:
    one, two = (SagaWorld(cluster, functions_database) for _ in range(2))
    contexts = [one.ctx, two.ctx]
    await two.register("realm-service", "client-service")
    sagas = [ctx.part(Orchestrator) for ctx in contexts]
    starts = [
        saga.start(Start("tenantCreation", {"tenantId": f"t{n}"}), Claim("/t", str(n), "start"))
        for n in range(20)
        for saga in sagas
    ]
    flows = {flow_id for flow_id, _ in await asyncio.gather(*starts)}
    assert len(flows) == 20
    for flow_id in flows:
        await two.until(flow_id, "COMPLETED")
    assert await two.count("realm") == 20


async def test_who_waits_for_a_run_gets_an_end_that_came_to_another_process(
    cluster: Cluster, functions_database: str
) -> None:
    one, elsewhere = SagaWorld(cluster, functions_database), Cluster()
    other = SagaWorld(elsewhere, functions_database)
    await one.register("realm-service", "client-service")
    waiting = asyncio.create_task(
        one.post("execute/tenantCreation?wait=30", json={"tenantId": "t"})
    )

    async def has_ended() -> bool:
        for command in (*cluster.sink.messages, *elsewhere.sink.messages):
            if command.type == StepCommanded.type and command.id not in other.carried:
                other.carried.add(command.id)
                await other.answer(command)
        assert await one.get("orchestrations/tenantCreation"), "others are served meanwhile"
        return waiting.done()

    try:
        async with serving_others():
            assert await eventually(has_ended)
        assert (await waiting)["run"] == "COMPLETED"
    finally:
        await elsewhere.close()


async def test_runs_that_ended_long_ago_are_forgotten_with_all_that_is_theirs(
    world: SagaWorld,
) -> None:
    await world.register("realm-service", "client-service")
    old, left, new = [await world.execute(tenantId=tenant) for tenant in ("old", "left", "new")]
    for flow_id in (old, left, new):
        await world.until(flow_id, "COMPLETED")
    connection = await asyncpg.connect(world.database)
    await connection.execute(
        "UPDATE orchestration_run SET completed_at = now() - interval '366 days'"
        " WHERE flow_id = ANY($1::uuid[])",
        [old, left],
    )
    # What is left of it is still to be seen to.
    await connection.execute(
        "UPDATE orchestration_run SET status = 'UNDO_FAILED' WHERE flow_id = $1", left
    )
    await forget(world.ctx.store, "orchestrator", rules=retention(world.ctx))
    for table in ("orchestration_run", "orchestration_step_run", "audit_event"):
        rows = await connection.fetch(f"SELECT DISTINCT flow_id FROM {table}")
        assert {str(row["flow_id"]) for row in rows} == {left, new}, table
    await connection.close()


async def test_old_attempts_to_register_are_forgotten_in_batches(world: SagaWorld) -> None:
    await world.register("realm-service", "client-service")
    connection = await asyncpg.connect(world.database)
    await connection.execute(
        """INSERT INTO registration_audit (orch_name, as_role, service_name, status,
               registered_steps, failed_steps, registered_at)
           SELECT 'o', 'WORKER', 'w', 'FAILED', '{}', '{}', now() - interval '366 days'
           FROM generate_series(1, 2200)"""
    )
    # As they would stand after a year: the oldest have the smallest numbers.
    await connection.execute(
        "ALTER TABLE registration_audit ALTER id SET GENERATED BY DEFAULT;"
        "UPDATE registration_audit SET id = id + 100000 WHERE orch_name <> 'o'"
    )
    await forget(world.ctx.store, "orchestrator", rules=retention(world.ctx))
    names = await connection.fetch("SELECT DISTINCT orch_name FROM registration_audit")
    assert [row["orch_name"] for row in names] == ["tenantCreation"]
    await connection.close()


async def test_answers_to_runs_that_there_never_were_are_forgotten(world: SagaWorld) -> None:
    await world.register("realm-service", "client-service")
    flow_id = await world.execute(tenantId="t")
    await world.until(flow_id, "COMPLETED")
    connection = await asyncpg.connect(world.database)
    for flow in (str(uuid4()), flow_id):
        data = {"flowId": flow, "stepName": "a", "attempt": 7, "workerName": "w", "action": "DO"}
        answer = StepAnswered.model_validate(data | {"metadata": {"status": "SUCCESS"}})
        await world.cluster.tell("orchestrator", answer)
    refused = "SELECT flow_id::text FROM audit_event WHERE type = 'ANSWER_REFUSED'"
    assert len(await connection.fetch(refused)) == 2
    for age, kept in ((364, 2), (366, 1)):
        await connection.execute(f"UPDATE audit_event SET at = now() - interval '{age} days'")
        await forget(world.ctx.store, "orchestrator", rules=retention(world.ctx))
        assert len(await connection.fetch(refused)) == kept
    assert [row["flow_id"] for row in await connection.fetch(refused)] == [flow_id]
    await connection.close()


async def test_the_workers_histories_and_the_inbox_are_forgotten(world: SagaWorld) -> None:
    await world.register("realm-service", "client-service")
    await world.until(await world.execute(tenantId="t"), "COMPLETED")
    connection = await asyncpg.connect(world.database)
    for table, age in (("realm_history", "at"), ("realm_client_history", "at")):
        await connection.execute(f"UPDATE {table} SET {age} = now() - interval '366 days'")
    await connection.execute("UPDATE inbox SET received_at = now() - interval '31 days'")
    await forget(world.ctx.store, "orchestrator", rules=(*realms.RETENTION, *clients.RETENTION))
    for table in ("realm_history", "realm_client_history"):
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0, table
    query = "SELECT count(*) FROM inbox WHERE function = 'orchestrator'"
    assert await connection.fetchval(query) == 0
    await connection.close()


async def test_metrics_count_what_goes_on_and_not_what_has_been(world: SagaWorld) -> None:
    await world.register("realm-service", "client-service")
    await world.until(await world.execute(tenantId="t"), "COMPLETED")
    await world.execute(tenantId="u")
    found = {
        (gauge.name, gauge.labels["status"]): gauge.value
        for gauge in await gauges(world.ctx)
        if "status" in gauge.labels
    }
    assert found["saga_runs", "IN_PROGRESS"] == 1
    assert found["saga_runs_ended", "COMPLETED"] == 1
    assert ("saga_runs", "COMPLETED") not in found
