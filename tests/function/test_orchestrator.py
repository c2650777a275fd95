"""The orchestrator over its API and its events, with real workers and a real database."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import asyncpg
import httpx
import pytest
import stamina

from functions.events.saga import RegistrationDecided, RunEnded, StepCommanded
from functions.kit import wire
from functions.orchestrator.batch import Start
from functions.orchestrator.claims import Claim
from functions.orchestrator.main import orchestrator
from functions.orchestrator.orchestrator import Orchestrator
from tests.cluster import Cluster
from tests.function.saga_world import TENANT, SagaWorld
from tests.support import eventually

NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def world(cluster: Cluster, functions_database: str) -> SagaWorld:
    return SagaWorld(cluster, functions_database)


def kafka(topic: str, body: bytes, id_: str = "partition:0/offset:1") -> wire.Message:
    return wire.Message(
        id_, f"/apis/v1/namespaces/dsm/kafkasources/saga#{topic}", "dev.knative.kafka.event", body
    )


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

    async def test_a_run_waits_in_words_and_starts_when_the_worker_registers(
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
            message = await _command(world, step)
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
        command = await _command(world, "createRealm")
        assert command.json()["payload"] == {"tenantId": "test"}
        flow_id = command.json()["flowId"]
        answer = f"""{{"flowId": "{flow_id}", "orchName": "tenantCreation",
            "stepName": "createRealm", "action": "DO", "metadata": {{"status": "SUCCESS"}}}}"""
        record = kafka("orchestrator.response.result", answer.encode())
        assert (await tell("orchestrator", record)).status_code == 202
        assert (await world.run(flow_id))["status"] == "COMPLETED"
        assert await world.count("orchestration_run") == 1

    async def test_commands_carry_what_triggers_filter_on_and_tell_all(
        self, world: SagaWorld
    ) -> None:
        await world.register("realm-service", "client-service")
        flow_id = await world.execute(tenantId="t")
        command = await _command(world, "createRealm")
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

        async def said() -> list[Any]:
            found = world.cluster.sink.of(RegistrationDecided)
            return found if len(found) == 2 else []

        decided = sorted(await eventually(said), key=lambda d: d.as_)
        assert [(d.as_, d.status) for d in decided] == [
            ("initiator", "PENDING"),
            ("worker", "PENDING"),
        ]
        assert decided[1].missing_workers == ["createClient"]

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            ({"stepName": "createClient"}, "has not registered for step 'createClient'"),
            ({"action": "UNDO"}, "was never told to UNDO"),
            ({"attempt": 7}, "attempt: 7 was never sent"),
            ({"workerName": "eve"}, "'eve' has not registered"),
            ({"stepName": "zz"}, "is no step of"),
            ({"flowId": NOBODY}, "there is no run"),
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
        message = wire.from_json(
            {"id": "1", "source": "/eve", "specversion": "1.0", "data": answer}
            | {"type": "io.dsm.saga.step.answered.v1"}
        )
        assert (await world.cluster.tell("orchestrator", message)).status_code == 202
        audit = await world.get(f"audit/{answer['flowId']}?eventType=ANSWER_REFUSED")
        assert reason in audit[0]["detail"]
        after = await world.run(flow_id)
        assert after["steps"] == before["steps"]

    @pytest.mark.parametrize(
        ("message", "status", "words"),
        [
            (wire.Message("1", "/x", "other.type"), 400, "not handled here"),
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
    async def test_bad_events_are_refused_in_words(
        self, world: SagaWorld, message: wire.Message, status: int, words: str
    ) -> None:
        response = await world.cluster.tell("orchestrator", message)
        assert response.status_code == status
        assert words in response.json()["detail"]
        assert len(response.content) <= 512


class TestRest:
    async def test_a_bad_registration_names_every_problem_and_is_audited(
        self, world: SagaWorld
    ) -> None:
        steps = [{"name": "a", "dependsOn": ["b"]}, {"name": "b", "when": "(("}]
        response = await world.api.post(
            "/api/orchestration/register", json=TENANT | {"steps": steps}
        )
        assert response.status_code == 400
        assert response.headers["content-type"] == "application/problem+json"
        fields = [e["field"] for e in response.json()["errors"]]
        assert fields == ["steps.1.when", "steps.dependsOn"]
        audit = await world.get("orchestrations/tenantCreation/registrations")
        assert [r["status"] for r in audit["content"]] == ["FAILED"]

    @pytest.mark.parametrize(
        ("path", "status", "field"),
        [
            ("orchestrations?page=-1", 400, "page"),
            ("orchestrations?size=0", 400, "size"),
            ("orchestrations?sortBy=colour", 400, "sortBy"),
            ("orchestrations?status=GOOD", 400, "status"),
            ("orchestrations?colour=red", 400, "colour"),
            ("orchestrations/nope", 404, "orchName"),
            ("orchestrations/nope/executions", 404, "orchName"),
            (f"orchestrations/nope/executions/{NOBODY}", 404, "flowId"),
            ("orchestrations/nope/executions/x", 400, "flow_id"),
            (f"audit/{NOBODY}", 404, "flowId"),
            (f"audit/{NOBODY}?from=yesterday", 400, "from"),
        ],
    )
    async def test_nonsense_is_refused_with_the_field(
        self, world: SagaWorld, path: str, status: int, field: str
    ) -> None:
        response = await world.api.get(f"/api/{path}")
        assert response.status_code == status
        assert response.json()["errors"][0]["field"] == field

    async def test_lists_are_paged_filtered_and_sorted(self, world: SagaWorld) -> None:
        await world.register("realm-service")
        for name in ("alpha", "beta"):
            await world.post("register", json=TENANT | {"orchName": name})
        page = await world.get("orchestrations?sortBy=orchName&direction=asc&size=2")
        assert [o["orchName"] for o in page["content"]] == ["alpha", "beta"]
        assert (page["totalElements"], page["totalPages"]) == (3, 2)
        found = await world.get("orchestrations?orchName=TENANT&status=PENDING")
        first = found["content"][0]
        assert (first["registeredWorkersCount"], first["totalWorkersExpected"]) == (1, 2)

    async def test_an_orchestration_shows_its_steps_and_workers(self, world: SagaWorld) -> None:
        await world.register("realm-service")
        found = await world.get("orchestrations/tenantCreation")
        assert [(s["name"], s["registeredBy"]) for s in found["steps"]] == [
            ("createRealm", "realm-service"),
            ("createClient", None),
        ]
        assert found["failureReason"] == "no worker for createClient"

    async def test_a_running_run_keeps_its_definition(self, world: SagaWorld) -> None:
        await world.register("realm-service", "client-service")
        flow_id = await world.execute(tenantId="t")
        await world.post("register", json=TENANT | {"steps": [{"name": "createRealm"}]})
        run = await world.until(flow_id, "COMPLETED")
        assert (run["version"], run["totalSteps"]) == (1, 2)
        assert (await world.get("orchestrations/tenantCreation"))["version"] == 2

    async def test_pause_resume_cancel_and_the_timeline(self, world: SagaWorld) -> None:
        await world.register("realm-service", "client-service")
        flow_id = await world.execute(tenantId="t")
        who = {"headers": {"X-Service-Name": "ada"}}
        await world.post(f"pause/{flow_id}", **who)
        await _command(world, "createRealm")
        await world.carry()
        assert "paused by ada" in (await world.run(flow_id))["waitingFor"]
        await world.post(f"cancel/{flow_id}", **who)
        await world.post(f"resume/{flow_id}", **who)
        run = await world.until(flow_id, "CANCELLED")
        assert await world.count("realm") == 0
        path = f"orchestrations/tenantCreation/executions/{flow_id}/timeline"
        types = [line["eventType"] for line in await world.get(path)]
        assert types[0] == "ORCHESTRATION_STARTED"
        assert types[-1] == "ORCHESTRATION_CANCELLED"
        assert {"WORKFLOW_PAUSED", "WORKFLOW_RESUMED", "UNDO_SUCCESS"} <= set(types)
        assert run["reason"] == "cancelled by ada"
        conflict = await world.api.post(f"/api/orchestration/pause/{flow_id}")
        assert conflict.status_code == 409

    async def test_a_worker_that_leaves_makes_room_for_another(self, world: SagaWorld) -> None:
        await world.register("realm-service")
        body = {"orchName": "tenantCreation", "as": "worker", "steps": [{"name": "createRealm"}]}
        headers = {"X-Service-Name": "other"}
        path = "/api/orchestration/register"
        assert (await world.api.post(path, json=body, headers=headers)).status_code == 400
        assert (await world.api.delete(f"{path}/tenantCreation/realm-service")).status_code == 200
        assert (await world.api.post(path, json=body, headers=headers)).status_code == 200

    @pytest.mark.parametrize("body", [b"\x00\xff", b'"a\\u0000b"', b"[1,", b"NaN"])
    async def test_any_bytes_start_a_run_and_what_is_no_json_goes_as_base64(
        self, world: SagaWorld, body: bytes
    ) -> None:
        await world.register("realm-service", "client-service")
        headers = {"Content-Type": "application/octet-stream"}
        started = await world.post("execute/tenantCreation", content=body, headers=headers)
        run = await world.run(started["flowId"])
        assert run["payloadEncoding"] == "base64"
        assert base64.b64decode(run["payload"]) == body

    async def test_the_documents_are_served_without_a_cdn(self, world: SagaWorld) -> None:
        page = await world.api.get("/swagger-ui.html")
        assert page.status_code == 200
        assert "https://" not in page.text
        script = await world.api.get("/swagger-ui/swagger-ui-bundle.js")
        assert script.status_code == 200
        document = (await world.api.get("/openapi.json")).json()
        assert document["openapi"].startswith("3.1")
        statuses = {
            status
            for path in document["paths"].values()
            for operation in path.values()
            for status in operation["responses"]
        }
        assert statuses == {"200", "400", "404", "409", "503"}

    async def test_health_says_up(self, world: SagaWorld) -> None:
        response = await world.api.get("/api/orchestration/health")
        assert response.json() == {"status": "UP"}

    async def test_a_database_that_is_away_is_503_everywhere(self, cluster: Cluster) -> None:
        cluster.deploy(orchestrator, {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"})
        async with cluster.client("orchestrator") as client:
            calls: list[httpx.Response] = [
                await client.get("/api/orchestration/health"),
                await client.post("/api/orchestration/register", json=TENANT),
                await client.post("/api/orchestration/execute/x"),
                await client.get("/api/orchestrations"),
            ]
        assert [c.status_code for c in calls] == [503] * 4
        event = kafka("orchestrator.execution.start", b'{"orchName":"x"}')
        assert (await cluster.tell("orchestrator", event)).status_code == 503


async def _command(world: SagaWorld, step: str) -> wire.Message:
    async def sent() -> wire.Message | None:
        found = [m for m in world.cluster.sink.messages if m.extensions.get("stepname") == step]
        return found[-1] if found else None

    message = await eventually(sent)
    assert message is not None
    return message


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
        await connection.execute("UPDATE orchestration_outbox SET held_until = now()")
        await connection.close()
        again = SagaWorld(world.cluster, world.database)
        tick = wire.from_json(
            {"specversion": "1.0", "id": "1", "source": "/ping", "schedule": "saga-round"}
            | {"type": "dev.knative.sources.ping", "time": "2026-01-05T09:00:00Z", "data": {}}
        )
        assert (await again.cluster.tell("orchestrator", tick)).status_code == 202
        await again.until(flow_id, "COMPLETED")


class TestTimers:
    async def test_a_step_that_nobody_answers_times_out_and_goes_again(
        self, world: SagaWorld
    ) -> None:
        retry = {"attempts": 2, "backoff": "PT0.05S"}
        step = {"name": "createRealm", "timeout": 0.1, "retry": retry}
        await world.post("register", json=TENANT | {"steps": [step]})
        await world.work_for("realm-service")
        flow_id = await world.execute(tenantId="t")

        async def failed() -> Any:
            run = await world.run(flow_id)
            return run if run["status"] == "FAILED" else None

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
