"""Bodies that no well-behaved service sends: never a 5xx, nothing lost, and words for all of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from functions.events.saga import RegistrationDecided
from functions.kit import cloudevents
from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.saga_world import TENANT, SagaWorld, kafka

REGISTRATION = "io.dsm.saga.registration.requested.v1"
START = "io.dsm.saga.execution.requested.v1"
ANSWER = "io.dsm.saga.step.answered.v1"
YAML = b"""
orchName: tenantCreation
as: initiator
type: sequential
steps:
  - {seq: 1, name: createRealm, objectType: String}
"""


@pytest.fixture
def world(cluster: Cluster, functions_database: str) -> SagaWorld:
    return SagaWorld(cluster, functions_database)


def event(
    kind: str, data: bytes | dict[str, Any], id_: str = "1", **more: str
) -> cloudevents.Message:
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    media_type = more.pop("media_type", "application/json")
    return cloudevents.Message(id_, "/odd", kind, body, datacontenttype=media_type, extensions=more)


def answer(flow_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "flowId": flow_id,
        "stepName": "createRealm",
        "attempt": 1,
        "workerName": "realm-service",
        "metadata": {"status": "SUCCESS"},
        **changes,
    }


class TestText:
    @pytest.mark.parametrize("workers", [("realm-service", "client-service"), ()])
    async def test_half_a_surrogate_pair_starts_a_run_as_base64(
        self, world: SagaWorld, workers: tuple[str, ...]
    ) -> None:
        await world.register(*workers)
        started = await world.post("execute/tenantCreation", content=b'{"a":"\\ud800"}')
        assert (await world.run(started["flowId"]))["payloadEncoding"] == "base64"

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"workerName": ""}, "workerName"),
            ({"workerName": " "}, "workerName"),
            ({"workerName": "\u2028"}, "workerName"),
            ({"workerName": "a\0b"}, "workerName"),
            ({"workerName": "\ud800"}, "workerName"),
            ({"workerName": "a" * 300_000}, "workerName"),
            ({"stepName": "a\0b"}, "stepName"),
            ({"stepName": "\udfff"}, "stepName"),
            ({"orchName": "a\0b"}, "orchName"),
            ({"flowId": "\ud800"}, "flowId"),
            ({"flowId": "a\0b"}, "flowId"),
        ],
    )
    @pytest.mark.parametrize("way", ["native", "kafka"])
    async def test_an_answer_that_cannot_be_kept_is_refused_by_field(
        self, world: SagaWorld, changes: dict[str, Any], field: str, way: str
    ) -> None:
        await world.register("realm-service", "client-service")
        data = answer(await world.execute(tenantId="t"), **changes)
        message = event(ANSWER, data)
        if way == "kafka":
            message = kafka("orchestrator.response.result", message.data)
        response = await world.cluster.tell("orchestrator", message)
        assert response.status_code == 422
        assert response.json()["detail"].startswith(f"{field}: ")

    async def test_a_blank_worker_is_refused_with_what_to_give(self, world: SagaWorld) -> None:
        await world.register("realm-service", "client-service")
        data = answer(await world.execute(tenantId="t"), workerName=" ")
        response = await world.cluster.tell("orchestrator", event(ANSWER, data))
        assert response.status_code == 422
        assert "is blank; give the name of the service" in response.json()["detail"]

    @pytest.mark.parametrize(
        "extensions", [{"correlationid": "a\0b"}, {"traceparent": "a\0b"}], ids=["correlation", "t"]
    )
    async def test_an_attribute_that_cannot_be_kept_is_no_fault_of_ours(
        self, world: SagaWorld, extensions: dict[str, str]
    ) -> None:
        await world.register("realm-service", "client-service")
        message = event(START, {"orchName": "tenantCreation"}, **extensions)
        response = await world.cluster.tell("orchestrator", message)
        assert response.status_code in (202, 422)

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"steps": [{"name": "a", "objectType": "\ud800"}]}, "steps.0.objectType"),
            ({"steps": [{"name": "a", "when": "a\0"}]}, "steps.0.when"),
            ({"steps": [{"name": "a", "when": "(" * 499 + "a" + ")" * 499}]}, "steps.0.when"),
            ({"steps": [{"name": "a", "retry": {"finalErrors": ["\ud800"]}}]}, "finalErrors.0"),
            ({"steps": [{"name": "a", "\ud800\0": 1}]}, "steps.0"),
        ],
    )
    async def test_a_registration_that_cannot_be_kept_is_refused_by_field(
        self, world: SagaWorld, changes: dict[str, Any], field: str
    ) -> None:
        body = json.dumps(TENANT | changes)
        response = await world.api.post("/api/orchestration/register", content=body)
        assert response.status_code == 400
        assert response.json()["errors"][0]["field"].endswith(field)
        audit = await world.get("orchestrations/tenantCreation/registrations")
        assert [r["status"] for r in audit["content"]] == ["FAILED"]


class TestFailures:
    """A failure counts, however it is worded."""

    @pytest.mark.parametrize(
        ("error", "kept"),
        [
            ("bad \0 byte", "bad \\u0000 byte"),
            ("half \ud83d", "half \\ud83d"),
            ("Zoë 火", "Zoë 火"),
            ("x" * 100_000, "x" * 2000),
            ({"code": 5}, '{"code": 5}'),
            (["a", None], '["a", null]'),
            (7, "7"),
            (None, "the worker gave no reason"),
        ],
        ids=["zero", "half a pair", "alphabets", "long", "object", "list", "number", "null"],
    )
    @pytest.mark.parametrize("way", ["native", "kafka"])
    async def test_an_error_in_whatever_form_ends_the_attempt(
        self, world: SagaWorld, error: object, kept: str, way: str
    ) -> None:
        await world.register("realm-service", "client-service")
        flow_id = await world.execute(tenantId="t")
        data = answer(flow_id, metadata={"status": "FAILED", "error": error, "final": None})
        message = event(ANSWER, data)
        if way == "kafka":
            message = kafka("orchestrator.response.result", message.data)
        assert (await world.cluster.tell("orchestrator", message)).status_code == 202
        step = (await world.run(flow_id))["steps"][0]
        assert (step["status"], step["error"]) == ("RETRYING", kept)

    async def test_null_is_as_if_left_out(self, world: SagaWorld) -> None:
        body = TENANT | {"deadline": None, "onFailure": None, "serviceName": None}
        steps = [
            {"seq": None, "name": "a", "objectType": None, "timeout": None, "retry": None}
            | {"undo": None, "dependsOn": None, "when": None},
            {"name": "b", "retry": {"attempts": None, "backoff": None, "finalErrors": None}},
        ]
        await world.post("register", json=body | {"steps": steps})
        found = await world.get("orchestrations/tenantCreation")
        assert found["onFailure"] == "undo"
        assert [s["maxRetries"] for s in found["steps"]] == [3, 3]


class TestResults:
    @pytest.mark.parametrize(
        ("result", "expected_text"),
        [
            ("x" * 900_000, "has 900002 bytes, the maximum is 786432"),
            (json.loads("[" * 101 + "]" * 101), "is nested deeper than 100 levels"),
            ("\ud800", "cannot be kept as JSON"),
            ("a\0b", "must not contain the character U+0000"),
        ],
        ids=["big", "deep", "half a pair", "zero"],
    )
    async def test_a_success_whose_result_cannot_be_kept_is_undone_and_audited(
        self, world: SagaWorld, result: str, expected_text: str
    ) -> None:
        await world.register("realm-service", "client-service")
        flow_id = await world.execute(tenantId="t")
        message = event(ANSWER, answer(flow_id, result=result))
        assert (await world.cluster.tell("orchestrator", message)).status_code == 202
        run = await world.run(flow_id)
        assert [s["status"] for s in run["steps"]] == ["UNDOING", "PENDING"]
        assert expected_text in run["reason"]
        [line] = await world.get(f"audit/{flow_id}?eventType=STEP_FAILED")
        assert line["detail"].startswith("took effect, but result: ")

    async def test_a_long_decimal_is_rounded_and_its_text_is_kept(self, world: SagaWorld) -> None:
        await world.register()
        body = b'{"number": 0.12345678901234567890, "text": "0.12345678901234567890"}'
        started = await world.post("execute/tenantCreation", content=body)
        payload = (await world.run(started["flowId"]))["payload"]
        assert payload == {"number": 0.12345678901234568, "text": "0.12345678901234567890"}

    @pytest.mark.parametrize(
        ("body", "expected_text"),
        [
            (b'"' + b"x" * 1_048_000 + b'"', None),
            (b"\xff" * 800_000, "has 800000 bytes, the maximum without JSON is 786432"),
        ],
        ids=["json", "binary"],
    )
    async def test_a_payload_is_refused_with_the_size_that_it_has(
        self, world: SagaWorld, body: bytes, expected_text: str | None
    ) -> None:
        await world.register()
        path = "/api/orchestration/execute/tenantCreation"
        response = await world.api.post(path, content=body)
        assert response.status_code == (200 if expected_text is None else 400)
        assert expected_text is None or expected_text in response.json()["detail"]

    async def test_a_deep_payload_is_kept_as_base64(self, world: SagaWorld) -> None:
        await world.register()
        body = b"[" * 400 + b"]" * 400
        started = await world.post("execute/tenantCreation", content=body)
        assert (await world.run(started["flowId"]))["payloadEncoding"] == "base64"

    async def test_a_deep_registration_is_refused(self, world: SagaWorld) -> None:
        text = json.dumps(TENANT)[:-1] + ', "more": ' + "[" * 900 + "]" * 900 + "}"
        response = await world.api.post("/api/orchestration/register", content=text)
        assert response.status_code == 400

    @pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "TRACE"])
    @pytest.mark.parametrize("path", ["/", "/api/orchestration/register"])
    async def test_another_method_is_405_and_changes_nothing(
        self, world: SagaWorld, method: str, path: str
    ) -> None:
        assert (await world.api.request(method, path)).status_code == 405

    @pytest.mark.parametrize("media_type", ["text/plain", "application/xml", "multipart/form-data"])
    async def test_a_registration_is_read_by_its_bytes_and_not_by_its_label(
        self, world: SagaWorld, media_type: str
    ) -> None:
        headers = {"Content-Type": media_type}
        path = "/api/orchestration/register"
        good = await world.api.post(path, content=json.dumps(TENANT), headers=headers)
        bad = await world.api.post(path, content=b"<a/>", headers=headers)
        assert (good.status_code, bad.status_code) == (200, 400)

    async def test_an_answer_that_comes_again_is_audited_once(self, world: SagaWorld) -> None:
        await world.register("realm-service", "client-service")
        flow_id = await world.execute(tenantId="t")
        message = event(ANSWER, answer(flow_id))
        for _ in range(4):
            assert (await world.cluster.tell("orchestrator", message)).status_code == 202
        [line] = await world.get(f"audit/{flow_id}?eventType=ANSWER_REPEATED")
        assert (line["stepName"], line["who"]) == ("createRealm", "realm-service")


class TestNames:
    async def test_a_nameless_answer_counts_from_a_kafka_record_only(
        self, world: SagaWorld
    ) -> None:
        await world.register("realm-service", "client-service")
        flow_id = await world.execute(tenantId="t")
        data = answer(flow_id, workerName=None)
        assert (await world.cluster.tell("orchestrator", event(ANSWER, data))).status_code == 202
        [line] = await world.get(f"audit/{flow_id}?eventType=ANSWER_REFUSED")
        assert line["detail"] == "workerName: an answer must say which worker gives it"
        record = kafka("orchestrator.response.result", json.dumps(data).encode())
        assert (await world.cluster.tell("orchestrator", record)).status_code == 202
        assert (await world.run(flow_id))["steps"][0]["status"] == "DO_SUCCESS"

    async def test_a_record_whose_header_names_another_worker_is_refused(
        self, world: SagaWorld
    ) -> None:
        record = event("dev.knative.kafka.event", answer("f"), kafkaheaderservicename="eve")
        record = cloudevents.from_attributes(
            cloudevents.attributes(record) | {"source": "/k#orchestrator.response.result"},
            record.data,
        )
        response = await world.cluster.tell("orchestrator", record)
        assert response.status_code == 422
        assert "'realm-service' is not 'eve'" in response.json()["detail"]

    async def test_a_body_that_names_another_service_than_the_header_is_refused(
        self, world: SagaWorld
    ) -> None:
        body = {"orchName": "x", "as": "worker", "steps": [{"name": "a"}]}
        response = await world.api.post(
            "/api/orchestration/register",
            json=body | {"serviceName": "realm-service"},
            headers={"X-Service-Name": "eve"},
        )
        assert response.status_code == 400
        [error] = response.json()["errors"]
        assert error["field"] == "serviceName"
        assert error["reason"] == "'realm-service' is not 'eve', the X-Service-Name"
        [line] = (await world.get("orchestrations/x/registrations"))["content"]
        assert (line["serviceName"], line["status"]) == ("eve", "FAILED")


class TestRegistrations:
    async def test_what_fits_no_model_and_what_is_unsound_are_reported_at_once(
        self, world: SagaWorld
    ) -> None:
        steps = [
            {"name": "a", "timeout": -1},
            {"name": "a", "dependsOn": ["zz"]},
            {"name": "c", "when": "((", "colour": "red"},
        ]
        body = TENANT | {"steps": steps, "type": "round"}
        response = await world.api.post("/api/orchestration/register", json=body)
        assert response.status_code == 400
        assert {e["field"] for e in response.json()["errors"]} == {
            *("type", "steps.0.timeout", "steps.2.colour", "steps.name", "steps.2.when"),
        }
        [line] = (await world.get("orchestrations/tenantCreation/registrations"))["content"]
        assert (line["status"], line["failedSteps"]) == ("FAILED", ["a", "a", "c"])
        assert (await world.api.get("/api/orchestrations/tenantCreation")).status_code == 404

    async def test_an_event_that_does_not_fit_is_answered_with_an_event(
        self, world: SagaWorld
    ) -> None:
        message = event(REGISTRATION, TENANT | {"steps": [{"name": "a", "timeout": -1}]})
        assert (await world.cluster.tell("orchestrator", message)).status_code == 422

        async def emitted() -> list[Any]:
            return world.cluster.sink.of(RegistrationDecided)

        [decided] = await eventually(emitted)
        assert (decided.status, decided.service_name) == ("FAILED", "tenantCreation-service")
        assert decided.errors == ["steps.0.timeout: Input should be greater than 0 seconds"]

    async def test_registration_and_start_come_as_native_events_in_yaml(
        self, world: SagaWorld
    ) -> None:
        message = event(REGISTRATION, YAML, media_type="application/yaml")
        assert (await world.cluster.tell("orchestrator", message)).status_code == 202
        await world.work_for("realm-service")
        start = b"orchName: tenantCreation\npayload: {tenantId: t, since: 2026-01-05}\n"
        message = event(START, start, media_type="application/yaml")
        refused = await world.cluster.tell("orchestrator", message)
        assert refused.status_code == 422, "the registration has come under this id"
        message = replace(message, id="another")
        assert (await world.cluster.tell("orchestrator", message)).status_code == 202
        command = await world.command("createRealm")
        assert command.json()["payload"] == {"tenantId": "t", "since": "2026-01-05"}

    @pytest.mark.parametrize(
        ("text", "expected_text"),
        [
            (b"a: &x [1]\nb: *x", "aliases are not supported"),
            (b"2026-01-05: 1", "keys must be str"),
            (b"a: [1", "neither JSON nor YAML"),
        ],
        ids=["alias", "key", "broken"],
    )
    async def test_yaml_that_json_cannot_say_is_refused(
        self, world: SagaWorld, text: bytes, expected_text: str
    ) -> None:
        message = event(REGISTRATION, text, media_type="application/yaml")
        response = await world.cluster.tell("orchestrator", message)
        assert response.status_code == 400
        assert expected_text in response.json()["detail"]
