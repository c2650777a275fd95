"""A small world for sagas: the orchestrator, two workers, and a broker that goes between them."""

from __future__ import annotations

from typing import Any

import asyncpg
import httpx

from functions.client_service.main import client_service
from functions.events.saga import StepAnswered, StepCommanded
from functions.kit import cloudevents
from functions.orchestrator.main import orchestrator
from functions.realm_service.main import realm_service
from tests.support import eventually
from tests.support.cluster import Cluster

TENANT = {
    "orchName": "tenantCreation",
    "as": "initiator",
    "type": "sequential",
    "steps": [
        {"seq": 1, "name": "createRealm", "objectType": "String"},
        {"seq": 2, "name": "createClient", "objectType": "String"},
    ],
}


async def register_tenant(client: httpx.AsyncClient) -> None:
    """Register TENANT and a worker for each of its steps, at an orchestrator."""
    worker = {"orchName": TENANT["orchName"], "as": "worker"}
    for service, body in (
        ("tenant-service", TENANT),
        ("realm-service", worker | {"steps": [{"name": "createRealm"}]}),
        ("client-service", worker | {"steps": [{"name": "createClient"}]}),
    ):
        headers = {"X-Service-Name": service}
        answer = await client.post("/api/orchestration/register", json=body, headers=headers)
        assert answer.status_code == 200, answer.text


class SagaWorld:
    """What tests do in it: ask the API, carry events, look at what the workers have."""

    def __init__(self, cluster: Cluster, database: str) -> None:
        self.cluster = cluster
        self.database = database
        environ = {"DATABASE_URL": database}
        self.ctx = cluster.deploy(orchestrator, environ)
        cluster.deploy(realm_service, environ)
        cluster.deploy(client_service, environ)
        self.api = cluster.client("orchestrator")
        self.carried: set[str] = set()

    async def post(self, path: str, **options: Any) -> Any:
        return _ok(await self.api.post(f"/api/orchestration/{path}", **options))

    async def get(self, path: str) -> Any:
        return _ok(await self.api.get(f"/api/{path}"))

    async def register(self, *workers: str) -> None:
        await self.post("register", json=TENANT, headers={"X-Service-Name": "tenant-service"})
        for worker in workers:
            await self.work_for(worker)

    async def work_for(self, worker: str) -> Any:
        step = {"realm-service": "createRealm", "client-service": "createClient"}[worker]
        body = {"orchName": "tenantCreation", "as": "worker", "steps": [{"name": step}]}
        return await self.post("register", json=body, headers={"X-Service-Name": worker})

    async def execute(self, **payload: str) -> str:
        flow_id: str = (await self.post("execute/tenantCreation", json=payload))["flowId"]
        return flow_id

    async def run(self, flow_id: str) -> Any:
        return await self.get(f"orchestrations/tenantCreation/executions/{flow_id}")

    async def carry(self) -> int:
        """Deliver what waits at the sink, once each, and bring the answers back."""
        count = 0
        for message in list(self.cluster.sink.messages):
            if message.id in self.carried or message.type != StepCommanded.type:
                continue
            self.carried.add(message.id)
            await self.answer(message)
            count += 1
        return count

    async def command(self, step: str) -> cloudevents.Message:
        """The latest command for a step, once it has been sent."""

        async def sent() -> cloudevents.Message | None:
            found = [m for m in self.cluster.sink.messages if m.extensions.get("stepname") == step]
            return found[-1] if found else None

        message = await eventually(sent)
        assert message is not None
        return message

    async def answer(self, message: cloudevents.Message, times: int = 1) -> None:
        worker = message.extensions["workername"]
        for _ in range(times):
            assert (await self.cluster.tell(worker, message)).status_code == 202
        answer = await self.cluster.answer_to(message)
        assert answer.type == StepAnswered.type
        for _ in range(times**2):
            assert (await self.cluster.tell("orchestrator", answer)).status_code == 202

    async def until(self, flow_id: str, status: str) -> Any:
        """Carry events until a run stands so."""

        async def stands() -> Any:
            await self.carry()
            run = await self.run(flow_id)
            return run if run["status"] == status else None

        return await eventually(stands)

    async def count(self, table: str) -> int:
        connection = await asyncpg.connect(self.database)
        try:
            found: int = await connection.fetchval(f"SELECT count(*) FROM {table}")
            return found
        finally:
            await connection.close()


def _ok(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()


def kafka(topic: str, body: bytes, id_: str = "partition:0/offset:1") -> cloudevents.Message:
    """A record as a KafkaSource delivers it."""
    return cloudevents.Message(
        id_, f"/apis/v1/namespaces/dsm/kafkasources/saga#{topic}", "dev.knative.kafka.event", body
    )
