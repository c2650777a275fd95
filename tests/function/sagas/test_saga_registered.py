"""What a registration sets going, and what it leaves alone when it comes again."""

from __future__ import annotations

from typing import Any

import pytest

from functions.events.saga import Outcome, RegistrationRequested, StepAnswered
from functions.kit import cloudevents
from tests.support.cluster import Cluster, message_of
from tests.support.saga_world import TENANT, SagaWorld

DIAMOND = {
    "orchName": "branches",
    "as": "initiator",
    "type": "simultaneous",
    "steps": [{"name": "a"}, {"name": "b"}, {"name": "c", "dependsOn": ["a"]}],
}


@pytest.fixture
def world(cluster: Cluster, functions_database: str) -> SagaWorld:
    return SagaWorld(cluster, functions_database)


async def work(world: SagaWorld, orchestration: str, worker: str, *steps: str) -> None:
    body = {"orchName": orchestration, "as": "worker", "steps": [{"name": s} for s in steps]}
    await world.post("register", json=body, headers={"X-Service-Name": worker})


async def stalled(world: SagaWorld) -> str:
    """A run whose branch c could go, but has no worker, while b is in flight."""
    await world.post("register", json=DIAMOND)
    await work(world, "branches", "w", "a", "b")
    await work(world, "branches", "v", "c")
    flow_id: str = (await world.post("execute/branches", json={}))["flowId"]
    assert (await world.api.delete("/api/orchestration/register/branches/v")).status_code == 200
    done = StepAnswered(
        flowId=flow_id,
        stepName="a",
        attempt=1,
        worker_name="w",
        metadata=Outcome(status="SUCCESS"),
    )
    assert (await world.cluster.tell("orchestrator", done)).status_code == 202
    assert (await steps(world, flow_id))["c"] == "PENDING"
    return flow_id


async def steps(world: SagaWorld, flow_id: str) -> dict[str, Any]:
    run = await world.get(f"orchestrations/branches/executions/{flow_id}")
    return {step["name"]: step["status"] for step in run["steps"]}


async def test_a_branch_starts_when_its_worker_registers_though_others_are_in_flight(
    world: SagaWorld,
) -> None:
    flow_id = await stalled(world)
    run = await world.get(f"orchestrations/branches/executions/{flow_id}")
    assert "no service has registered as worker for step c" in run["waitingFor"]
    await work(world, "branches", "v", "c")
    assert (await steps(world, flow_id))["c"] == "IN_PROGRESS"


async def test_a_begun_run_gets_its_worker_though_the_new_version_lacks_one(
    world: SagaWorld,
) -> None:
    flow_id = await stalled(world)
    wider = [*DIAMOND["steps"], {"name": "d"}]
    await world.post("register", json=DIAMOND | {"steps": wider})
    await work(world, "branches", "v", "c")
    assert (await steps(world, flow_id))["c"] == "IN_PROGRESS"


async def test_a_run_of_an_old_version_gets_its_worker(world: SagaWorld) -> None:
    await world.register("realm-service")
    flow_id = await world.execute(tenantId="t")
    renamed = [{"name": "createRealm"}, {"name": "makeClient"}]
    await world.post("register", json=TENANT | {"steps": renamed})
    await world.work_for("client-service")
    run = await world.until(flow_id, "COMPLETED")
    assert run["version"] == 1


def registration(steps: list[dict[str, Any]]) -> cloudevents.Message:
    request = RegistrationRequested.model_validate(TENANT | {"steps": steps})
    return message_of(request, id="r1")


async def test_a_registration_that_comes_again_takes_nothing_back(world: SagaWorld) -> None:
    first = registration([{"name": "createRealm"}])
    assert (await world.cluster.tell("orchestrator", first)).status_code == 202
    await world.post("register", json=TENANT)
    assert (await world.cluster.tell("orchestrator", first)).status_code == 202
    assert (await world.get("orchestrations/tenantCreation"))["version"] == 2
    attempts = await world.get("orchestrations/tenantCreation/registrations")
    assert attempts["totalElements"] == 2


async def test_a_refused_registration_that_comes_again_is_refused_alike(world: SagaWorld) -> None:
    bad = registration([{"name": "a", "dependsOn": ["b"]}])
    answers = [await world.cluster.tell("orchestrator", bad) for _ in range(2)]
    assert [a.status_code for a in answers] == [422, 422]
    assert answers[0].json() == answers[1].json()
    assert await world.count("registration_audit") == 1
