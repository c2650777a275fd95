"""Sagas from start to end over the API, with real workers and a real database."""

from __future__ import annotations

import asyncio

import pytest

from functions.events.saga import RunEnded, StepCommanded
from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.saga_world import SagaWorld


@pytest.fixture
def world(cluster: Cluster, functions_database: str) -> SagaWorld:
    return SagaWorld(cluster, functions_database)


class TestStory:
    async def test_a_tenant_is_created_step_by_step(self, world: SagaWorld) -> None:
        await world.register("realm-service", "client-service")
        flow_id = await world.execute(tenantId="test-tenant", realmName="test-realm")
        run = await world.until(flow_id, "COMPLETED")
        assert [s["status"] for s in run["steps"]] == ["DO_SUCCESS", "DO_SUCCESS"]
        assert run["percentageCompleted"] == 100
        assert run["waitingFor"] is None
        assert (await world.count("realm"), await world.count("realm_client")) == (1, 1)
        ended = world.cluster.sink.of(RunEnded)
        assert [(e.flow_id, e.status) for e in ended] == [(flow_id, "COMPLETED")]

    async def test_undo_takes_all_back_in_reverse(self, world: SagaWorld) -> None:
        await world.register("realm-service", "client-service")
        flow_id = await world.execute(tenantId="t")
        await world.until(flow_id, "COMPLETED")
        plan = await world.get(f"orchestrations/tenantCreation/executions/{flow_id}/undo-plan")
        assert plan["waves"] == [["createClient"], ["createRealm"]]
        await world.post(f"undo/{flow_id}", headers={"X-Service-Name": "ada"})
        run = await world.until(flow_id, "UNDONE")
        assert run["reason"] == "undone by ada"
        assert (await world.count("realm"), await world.count("realm_client")) == (0, 0)
        undone = [c.step_name for c in world.cluster.sink.of(StepCommanded) if c.action == "UNDO"]
        assert undone == ["createClient", "createRealm"]

    async def test_a_run_waits_with_a_reason_and_starts_when_the_worker_registers(
        self, world: SagaWorld
    ) -> None:
        await world.register("realm-service")
        started = await world.post("execute/tenantCreation", json={"tenantId": "t"})
        assert started["run"] == "WAITING"
        assert "no service has registered as worker for step createClient" in started["waitingFor"]
        await world.work_for("client-service")
        await world.until(started["flowId"], "COMPLETED")

    async def test_a_final_failure_undoes_what_was_done(self, world: SagaWorld) -> None:
        await world.register("realm-service", "client-service")
        first = await world.execute(tenantId="t", realmName="same")
        await world.until(first, "COMPLETED")
        second = await world.execute(tenantId="u", realmName="same")
        run = await world.until(second, "FAILED")
        assert "realm 'same' exists already" in run["reason"]
        assert await world.count("realm") == 1

    async def test_everything_twice_has_one_effect(self, world: SagaWorld) -> None:
        await world.register("realm-service", "client-service")
        flow_id = await world.execute(tenantId="t")
        for step in ("createRealm", "createClient"):
            message = await world.command(step)
            await world.answer(message, times=2)
        run = await world.run(flow_id)
        assert run["status"] == "COMPLETED"
        assert (await world.count("realm"), await world.count("realm_client")) == (1, 1)

    async def test_wait_answers_with_the_end(self, world: SagaWorld) -> None:
        await world.register("realm-service", "client-service")
        asked = asyncio.create_task(
            world.post("execute/tenantCreation?wait=20", json={"tenantId": "t"})
        )

        async def ended() -> bool:
            await world.carry()
            return asked.done()

        await eventually(ended)
        answer = await asked
        assert answer["run"] == "COMPLETED"
        assert set(answer["results"]) == {"createRealm", "createClient"}


class TestIdempotency:
    async def test_a_repeated_key_starts_one_run(self, world: SagaWorld) -> None:
        await world.register("realm-service", "client-service")
        headers = {"Idempotency-Key": "k"}
        answers = await asyncio.gather(
            *(world.post("execute/tenantCreation", json={}, headers=headers) for _ in range(5))
        )
        assert len({a["flowId"] for a in answers}) == 1
        assert await world.count("orchestration_run") == 1

    async def test_a_key_for_another_request_is_a_conflict(self, world: SagaWorld) -> None:
        await world.register("realm-service", "client-service")
        headers = {"Idempotency-Key": "k"}
        await world.post("execute/tenantCreation", json={"a": 1}, headers=headers)
        response = await world.api.post(
            "/api/orchestration/execute/tenantCreation", json={"a": 2}, headers=headers
        )
        assert response.status_code == 409
        assert response.json()["errors"][0]["field"] == "Idempotency-Key"

    async def test_a_refused_start_lets_go_of_its_key(self, world: SagaWorld) -> None:
        headers = {"Idempotency-Key": "k"}
        path = "/api/orchestration/execute/tenantCreation"
        assert (await world.api.post(path, headers=headers)).status_code == 404
        await world.register("realm-service", "client-service")
        assert (await world.api.post(path, headers=headers)).status_code == 200
