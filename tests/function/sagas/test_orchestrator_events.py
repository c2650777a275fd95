"""The orchestrator over events: native ones, Kafka records, forged answers."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from functions.events.saga import RegistrationDecided, RegistrationRequested
from functions.kit import cloudevents
from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.saga_world import TENANT, SagaWorld, kafka

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNKNOWN = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def world(cluster: Cluster, functions_database: str) -> SagaWorld:
    return SagaWorld(cluster, functions_database)


class TestEvents:
    async def test_registration_start_and_answer_come_as_kafka_records(
        self, world: SagaWorld
    ) -> None:
        yaml = b"""
orchName: tenantCreation
as: initiator
type: sequential
steps:
  - seq: 1
    name: createRealm
    objectType: String
"""
        tell = world.cluster.tell
        assert (await tell("orchestrator", kafka("orchestrator.registration", yaml))).is_success
        await world.work_for("realm-service")
        payload = base64.b64encode(b'{"tenantId": "test"}').decode()
        start = f'{{"orchName": "tenantCreation", "payload": "{payload}"}}'.encode()
        record = kafka("orchestrator.execution.start", start)
        for _ in range(2):
            assert (await tell("orchestrator", record)).status_code == 202
        command = await world.command("createRealm")
        assert command.json()["payload"] == {"tenantId": "test"}
        flow_id = command.json()["flowId"]
        answer = f"""{{"flowId": "{flow_id}", "orchName": "tenantCreation",
            "stepName": "createRealm", "action": "DO", "metadata": {{"status": "SUCCESS"}}}}"""
        record = kafka("orchestrator.response.result", answer.encode())
        assert (await tell("orchestrator", record)).status_code == 202
        assert (await world.run(flow_id))["status"] == "COMPLETED"
        assert await world.count("orchestration_run") == 1

    async def test_what_is_emitted_carries_the_correlation_of_the_request(
        self, world: SagaWorld
    ) -> None:
        why = {"correlationid": "an-order", "causationid": "a-click", "traceparent": TRACE}
        headers = {
            "traceparent": TRACE,
            "baggage": "correlationid=an-order,causationid=a-click",
            "X-Service-Name": "tenant-service",
        }
        await world.post("register", json=TENANT, headers=headers)

        async def decided_() -> cloudevents.Message | None:
            found = [m for m in world.cluster.sink.messages if m.type == RegistrationDecided.type]
            return found[-1] if found else None

        decided = await eventually(decided_)
        assert decided is not None
        assert why.items() <= decided.extensions.items()

        await world.work_for("realm-service")
        await world.work_for("client-service")
        await world.post("execute/tenantCreation", json={"tenantId": "t"}, headers=headers)
        command = await world.command("createRealm")
        assert why.items() <= command.extensions.items()

    async def test_a_registration_that_a_run_waited_for_is_the_cause_of_its_command(
        self, world: SagaWorld
    ) -> None:
        await world.register()
        start = {"baggage": "correlationid=an-order"}
        await world.post("execute/tenantCreation", json={"tenantId": "t"}, headers=start)
        await world.work_for("client-service")
        body: dict[str, Any] = {"orchName": "tenantCreation", "as": "worker"}
        body |= {"serviceName": "realm-service", "steps": [{"name": "createRealm"}]}
        registration = cloudevents.Message(
            "a-registration",
            "/workers",
            RegistrationRequested.type,
            json.dumps(body).encode(),
            extensions={"traceparent": TRACE, "correlationid": "a-rollout"},
        )
        assert (await world.cluster.tell("orchestrator", registration)).is_success

        carried = (await world.command("createRealm")).extensions
        assert carried["correlationid"] == "an-order", "the run's own"
        assert (carried["causationid"], carried["traceparent"]) == ("a-registration", TRACE)

    async def test_commands_carry_what_triggers_filter_on_and_tell_all(
        self, world: SagaWorld
    ) -> None:
        await world.register("realm-service", "client-service")
        flow_id = await world.execute(tenantId="t")
        command = await world.command("createRealm")
        wanted = {
            "orchname": "tenantCreation",
            "stepname": "createRealm",
            "action": "DO",
            "workername": "realm-service",
        }
        assert wanted.items() <= command.extensions.items()
        data = command.json()
        assert (data["flowId"], data["attempt"], data["seq"]) == (flow_id, 1, 1)
        assert data["payload"] == {"tenantId": "t"}

    async def test_a_registration_is_answered_with_an_event(self, world: SagaWorld) -> None:
        await world.register("realm-service")

        async def emitted() -> list[Any]:
            found = world.cluster.sink.of(RegistrationDecided)
            return found if len(found) == 2 else []

        decided = sorted(await eventually(emitted), key=lambda d: d.as_)
        assert [(d.as_, d.status) for d in decided] == [
            ("initiator", "PENDING"),
            ("worker", "PENDING"),
        ]
        assert decided[1].missing_workers == ["createClient"]

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            ({"stepName": "createClient"}, "has not registered for step 'createClient'"),
            ({"action": "UNDO"}, "got no command to UNDO"),
            ({"attempt": 7}, "attempt: 7 was never sent"),
            ({"workerName": "eve"}, "'eve' has not registered"),
            ({"stepName": "zz"}, "is no step of"),
            ({"flowId": UNKNOWN}, "there is no run"),
        ],
        ids=[
            "other step",
            "wrong action",
            "forged attempt",
            "foreign worker",
            "no such step",
            "no such run",
        ],
    )
    async def test_a_forged_answer_changes_nothing_and_is_audited(
        self, world: SagaWorld, data: dict[str, Any], reason: str
    ) -> None:
        await world.register("realm-service", "client-service")
        flow_id = await world.execute(tenantId="t")
        answer = {
            "flowId": flow_id,
            "stepName": "createRealm",
            "action": "DO",
            "attempt": 1,
            "workerName": "realm-service",
            "metadata": {"status": "SUCCESS"},
        } | data
        before = await world.run(flow_id)
        message = cloudevents.from_json(
            {"id": "1", "source": "/eve", "specversion": "1.0", "data": answer}
            | {"type": "io.dsm.saga.step.answered.v1"}
        )
        assert (await world.cluster.tell("orchestrator", message)).status_code == 202
        audit = await world.get(f"audit/{answer['flowId']}?eventType=ANSWER_REFUSED")
        assert reason in audit[0]["detail"]
        after = await world.run(flow_id)
        assert after["steps"] == before["steps"]

    @pytest.mark.parametrize(
        ("message", "status", "expected_text"),
        [
            (cloudevents.Message("1", "/x", "other.type"), 400, "not handled here"),
            (kafka("some.topic", b"{}"), 422, "topic"),
            (kafka("orchestrator.registration", b"\xff"), 400, "UTF-8"),
            (kafka("orchestrator.registration", b"a: [1"), 400, "neither JSON nor YAML"),
            (kafka("orchestrator.registration", b"orchName: x"), 422, "steps"),
            (
                kafka("orchestrator.execution.start", b'{"orchName":"x","payload":"%"}'),
                422,
                "base64",
            ),
            (kafka("orchestrator.execution.start", b'{"orchName":"nope"}'), 422, "nope"),
        ],
    )
    async def test_bad_events_are_refused_with_a_reason(
        self, world: SagaWorld, message: cloudevents.Message, status: int, expected_text: str
    ) -> None:
        response = await world.cluster.tell("orchestrator", message)
        assert response.status_code == status
        assert expected_text in response.json()["detail"]
        assert len(response.content) <= 512
