"""Long lives: workers that forget, that leave, and that others take the place of."""

from __future__ import annotations

import asyncpg
import pytest

from functions.events.saga import Outcome, StepAnswered, StepCommanded
from functions.kit import cloudevents
from functions.kit.durable import retention
from functions.saga_sdk import Step, Worker
from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.saga_world import SagaWorld

successor = Worker("successor_service")


@successor.do("createRealm")
async def create(step: Step) -> None:
    """It came too late to do this one."""


@successor.undo("createRealm")
async def delete(step: Step) -> None:
    """It has the data of whom it replaces."""
    await step.tx.execute("DELETE FROM realm WHERE effect_key = $1", step.key)


@pytest.fixture
def world(cluster: Cluster, functions_database: str) -> SagaWorld:
    return SagaWorld(cluster, functions_database)


async def created(world: SagaWorld) -> str:
    await world.register("realm-service", "client-service")
    flow_id = await world.execute(tenantId="t")
    await world.until(flow_id, "COMPLETED")
    return flow_id


async def replace_realm_service(world: SagaWorld) -> None:
    world.cluster.deploy(successor.target(), {"DATABASE_URL": world.database})
    path = "/api/orchestration/register/tenantCreation/realm-service"
    assert (await world.api.delete(path)).status_code == 200
    step = {"name": "createRealm"}
    body = {"orchName": "tenantCreation", "as": "worker", "steps": [step]}
    await world.post("register", json=body, headers={"X-Service-Name": "successor-service"})


def undos(world: SagaWorld) -> list[tuple[str, str]]:
    received = world.cluster.sink.of(StepCommanded)
    return [(c.step_name, c.worker_name) for c in received if c.action == "UNDO"]


async def forget_all(world: SagaWorld) -> None:
    connection = await asyncpg.connect(world.database)
    await connection.execute("UPDATE journal SET done_at = now() - interval '400 days'")
    await connection.close()
    for name in ("realm_service", "client_service"):
        await retention.forget(world.ctx.store, name)


async def test_a_run_of_last_year_is_undone(world: SagaWorld) -> None:
    flow_id = await created(world)
    await forget_all(world)
    await world.post(f"undo/{flow_id}")
    await world.until(flow_id, "UNDONE")
    assert (await world.count("realm"), await world.count("realm_client")) == (0, 0)


async def test_who_did_a_step_undoes_it_though_another_has_taken_its_place(
    world: SagaWorld,
) -> None:
    flow_id = await created(world)
    await replace_realm_service(world)
    await world.post(f"undo/{flow_id}")
    await world.until(flow_id, "UNDONE")
    assert undos(world) == [("createClient", "client-service"), ("createRealm", "realm-service")]
    assert await world.count("realm") == 0


async def test_an_operator_lets_the_new_worker_undo_what_the_old_one_did(world: SagaWorld) -> None:
    flow_id = await created(world)
    await replace_realm_service(world)
    await world.post(f"undo/{flow_id}")
    await world.answer(await undo_received(world, "createClient"))
    await undo_received(world, "createRealm")
    await fail(world, flow_id, "realm-service")
    assert (await world.run(flow_id))["status"] == "UNDO_FAILED"
    await world.post(f"retry/{flow_id}?reassign=true", headers={"X-Service-Name": "ada"})
    await world.until(flow_id, "UNDONE")
    assert undos(world)[-1] == ("createRealm", "successor-service")
    assert await world.count("realm") == 0


async def undo_received(world: SagaWorld, step: str) -> cloudevents.Message:
    """Take the command; no other will deliver it."""
    wanted = {"stepname": step, "action": "UNDO"}

    async def received() -> list[cloudevents.Message]:
        return [m for m in world.cluster.sink.messages if wanted.items() <= m.extensions.items()]

    message = (await eventually(received))[-1]
    world.carried.add(message.id)
    return message


async def fail(world: SagaWorld, flow_id: str, worker: str) -> None:
    """Say in the old worker's name that its undo comes to nothing."""
    event = StepAnswered(
        flowId=flow_id,
        stepName="createRealm",
        action="UNDO",
        attempt=1,
        worker_name=worker,
        metadata=Outcome(status="FAILED", error="gone", final=True),
    )
    assert (await world.cluster.tell("orchestrator", event)).status_code == 202
