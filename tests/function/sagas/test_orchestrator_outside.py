"""What the internet reaches of the orchestrator: its API and documents, never its events."""

from __future__ import annotations

import pytest

from functions.events.saga import ExecutionRequested
from functions.events.schedule import ScheduleDue
from functions.kit import cloudevents
from tests.support.cluster import Cluster
from tests.support.saga_world import SagaWorld, kafka

OUTSIDE = [
    {"host": "orchestrator.dsm.example.com"},
    {"host": "ORCHESTRATOR.DSM.EXAMPLE.COM:443"},
    {"x-forwarded-host": "sagas.example.com"},
    {"k-original-host": "orchestrator.dsm.example.com"},
]
EVENTS = [
    cloudevents.Message("e", "/attack", ExecutionRequested.type, b'{"orchName":"tenantCreation"}'),
    cloudevents.Message("t", "/attack", ScheduleDue.type, b'{"schedule":"saga-sweep"}'),
    kafka("orchestrator.execution.start", b'{"orchName":"tenantCreation"}'),
]


@pytest.fixture
def world(cluster: Cluster, functions_database: str) -> SagaWorld:
    return SagaWorld(cluster, functions_database)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.id)
async def test_an_event_from_outside_is_not_taken(
    world: SagaWorld, event: cloudevents.Message
) -> None:
    await world.register()
    headers, body = cloudevents.encode(event)
    for host in OUTSIDE:
        named = [*headers, *host.items()]
        response = await world.api.post("/", headers=named, content=body)
        assert response.status_code == 404, host
    assert await world.count("orchestration_run") == 0
    assert await world.count("inbox") == 0


async def test_only_the_api_and_its_documents_are_public(world: SagaWorld) -> None:
    for path in ("/", "/runs", "//", "/%2F", "/ap", "/health/x/../../runs"):
        assert (await world.api.get(path, headers=OUTSIDE[0])).status_code == 404, path
    for path in ("/api/orchestrations", "/openapi.json", "/swagger-ui.html"):
        assert (await world.api.get(path, headers=OUTSIDE[0])).status_code == 200, path


async def test_the_same_event_is_taken_from_inside(world: SagaWorld) -> None:
    await world.register()
    assert (await world.cluster.tell("orchestrator", EVENTS[0])).status_code == 202
    assert await world.count("orchestration_run") == 1
