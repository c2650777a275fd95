"""The orchestrator's REST API: lists, details, operators, problems in words."""

from __future__ import annotations

import base64

import httpx
import pytest

from functions.orchestrator.main import orchestrator
from tests.support.cluster import Cluster
from tests.support.saga_world import TENANT, SagaWorld, kafka

UNKNOWN = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def world(cluster: Cluster, functions_database: str) -> SagaWorld:
    return SagaWorld(cluster, functions_database)


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
            ("orchestrations?page=-1", 422, "page"),
            ("orchestrations?size=0", 422, "size"),
            ("orchestrations?sortBy=colour", 422, "sortBy"),
            ("orchestrations?status=GOOD", 422, "status"),
            ("orchestrations?colour=red", 422, "colour"),
            ("orchestrations/nope", 404, "orchName"),
            ("orchestrations/nope/executions", 404, "orchName"),
            (f"orchestrations/nope/executions/{UNKNOWN}", 404, "flowId"),
            ("orchestrations/nope/executions/x", 422, "flow_id"),
            (f"audit/{UNKNOWN}", 404, "flowId"),
            (f"audit/{UNKNOWN}?from=yesterday", 422, "from"),
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

    async def test_runs_of_all_orchestrations_come_a_page_at_a_time(self, world: SagaWorld) -> None:
        await world.register("realm-service", "client-service")
        flows = [await world.execute(tenantId=f"t{n}") for n in range(3)]
        found, query = list[str](), "limit=2&direction=asc"
        page = await world.get(f"executions?{query}")
        while page["next"] is not None:
            found += [run["executionId"] for run in page["content"]]
            page = await world.get(f"executions?{query}&cursor={page['next']}")
        found += [run["executionId"] for run in page["content"]]
        assert (found, page["totalElements"]) == (flows, 3)

    async def test_the_old_names_of_cursor_and_limit_are_read_with_a_warning(
        self, world: SagaWorld, caplog: pytest.LogCaptureFixture
    ) -> None:
        await world.register("realm-service", "client-service")
        _, second = [await world.execute(tenantId=t) for t in "ab"]
        page = await world.get("executions?size=1&page=1&direction=asc")
        assert [run["executionId"] for run in page["content"]] == [second]
        assert "'page' and 'size' are deprecated" in caplog.text

    async def test_attempts_to_register_come_a_page_at_a_time(self, world: SagaWorld) -> None:
        await world.register("realm-service")
        path = "orchestrations/tenantCreation/registrations?limit=1"
        newest = await world.get(path)
        oldest = await world.get(f"{path}&cursor={newest['next']}")
        roles = [one["asRole"] for page in (newest, oldest) for one in page["content"]]
        assert roles == ["WORKER", "INITIATOR"]
        assert oldest["next"] is None

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
        await world.command("createRealm")
        await world.carry()
        assert "paused by ada" in (await world.run(flow_id))["waitingFor"]
        await world.post(f"cancel/{flow_id}", **who)
        conflict = await world.api.post(f"/api/orchestration/resume/{flow_id}")
        assert conflict.status_code == 409, "the cancel has resumed it"
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
        assert statuses == {"200", "400", "401", "403", "404", "409", "422", "503"}

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
