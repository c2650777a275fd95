"""Whatever an event says, each function and service answers it, and the next one as ever.

Every kind of event that one consumes, with ids, names and texts that fit nothing: never 500, never
over 512 bytes, and the good event that comes afterwards is handled like the one before. What a good
one has to do in a table of another's (a Job, a step of a run) is looked at.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.events.base import AnyEvent, Event
from functions.events.saga import StepAnswered
from functions.events.webhook import JobRetryRequested, TaskRequested
from functions.kit.durable import migrate
from tests.conftest import MakeMigrated
from tests.support import hostile, webhook_requests
from tests.support.cluster import Cluster
from tests.support.dsm_services import World
from tests.support.job_world import shipped_routes
from tests.support.loop_load import serving_others
from tests.support.repository import GOLDEN, all_folders, event_types, target
from tests.support.saga_world import TENANT, register_tenant

CASES = 25
LABELLED = "com.github.issue.labeled"
SAGAS = "/api/orchestration"


def inputs(name: str) -> tuple[type[Event], ...]:
    made = target(name)
    return tuple((getattr(made, "api", None) or made.__dict__["spec"]).inputs)


def goldens(name: str) -> list[dict[str, Any]]:
    """An example of each event that a function consumes."""
    kinds = inputs(name)
    if AnyEvent in kinds:
        kinds = tuple(event_types())
    found = []
    for kind in kinds:
        example = json.loads((GOLDEN / f"{kind.type}.json").read_text())
        schedules = (getattr(target(name), "api", None) or target(name).__dict__["spec"]).schedules
        if "schedule" in example:
            example["schedule"] = next((s for s in schedules if "*" not in s), example["schedule"])
        found.append(example)
    return found


CONSUMERS = [name for name in sorted(all_folders()) if inputs(name)]
# An agent's Job has an image, and a grant of what may be done in its name.
AGENT = {"JOB_IMAGE": "acme/agent", "WORKSPACE_IMAGE": "acme/functions", "GRANT_KEY": "k" * 32}
STEPS = {
    "realm_service": ("realm-service", "createRealm", {}),
    "client_service": ("client-service", "createClient", {"createRealm": {"realmId": "r"}}),
}


@dataclass(frozen=True)
class Consumer:
    """A function with its database, and the services that it calls in memory."""

    cluster: Cluster
    world: World
    name: str
    examples: list[dict[str, Any]]

    async def send(self, document: Any) -> httpx.Response:
        return await self.post(json.dumps(document).encode())

    async def post(self, body: bytes) -> httpx.Response:
        headers = {"content-type": "application/cloudevents+json"}
        async with self.cluster.client(self.name.replace("_", "-")) as client:
            return await client.post("/", headers=headers, content=body)

    async def good(self, number: int) -> None:
        """An event like an example, about what no event was about before, is done."""
        document = await self._fresh(self.examples[number])
        answer = await self.send(document)
        assert answer.status_code in (200, 202), (answer.text, document)
        await self._has_its_effect(document)

    async def _fresh(self, example: dict[str, Any]) -> dict[str, Any]:
        new, name = str(uuid4()), self.name
        made = copy.deepcopy(example) | {"id": new}
        if name == "cycle_trigger" and "schedule" not in made:
            sprint = self.world.sprint(new, 1, 100)
            made["data"]["project_id"] = new
            if "sprint_id" in made["data"]:
                made["data"]["sprint_id"] = sprint.id
        elif name in STEPS:
            worker, step, results = STEPS[name]
            made |= {"orchname": "tenantCreation", "stepname": step, "workername": worker}
            made["data"] |= {"flowId": new, "effectKey": f"{new}/{step}/1", "results": results}
            made["data"] |= {"payload": {"tenantId": new}, "objectType": "String"}
        elif name == "orchestrator" and made["type"] == StepAnswered.type:
            flow_id = await self._executed()
            made["data"] |= {"flowId": flow_id, "orchName": "tenantCreation"}
            made["data"] |= {"stepName": "createRealm", "workerName": "realm-service"}
            made["source"] = "/functions/realm-service"
        elif made["type"] == TaskRequested.type:
            made["data"]["task_id"] = new
        elif name == "job_launcher" and made["type"] == JobRetryRequested.type:
            (task,) = (one for one in self.examples if one["type"] == TaskRequested.type)
            requested = await self._fresh(task)
            assert (await self.send(requested)).status_code == 202
            made["data"]["task_id"] = requested["data"]["task_id"]
        elif made["type"] == LABELLED:
            made["data"]["repository"]["full_name"] = f"acme/{new}"
        return made

    async def _executed(self) -> str:
        """A new run, whose first step waits for the answer of its worker."""
        async with self.cluster.client("orchestrator") as client:
            await register_tenant(client)
            answer = await client.post(f"{SAGAS}/execute/{TENANT['orchName']}", json={})
        return str(answer.json()["flowId"])

    async def _has_its_effect(self, document: dict[str, Any]) -> None:
        data = document["data"]
        match self.name, document["type"]:
            case "orchestrator", StepAnswered.type:
                at = f"/api/orchestrations/tenantCreation/executions/{data['flowId']}"
                async with self.cluster.client("orchestrator") as client:
                    steps = (await client.get(at)).json()["steps"]
                assert (steps[0]["status"], steps[0]["result"]) == ("DO_SUCCESS", data["result"])
            case "job_launcher", TaskRequested.type:
                await self._has_a_job(data["task_id"])
            case "job_launcher", t if t == LABELLED:
                repository = data["repository"]["full_name"]
                await self._has_a_job(f"{repository}#{data['issue']['number']}")

    async def _has_a_job(self, task_id: str) -> None:
        async with self.cluster.client("job-launcher") as client:
            jobs = (await client.get("/jobs", params={"task": task_id})).json()["jobs"]
        assert [job["state"] for job in jobs] == ["queued"], "no Kubernetes is here"


@pytest.fixture(params=CONSUMERS)
async def consumer(
    request: pytest.FixtureRequest,
    cluster: Cluster,
    make_migrated: MakeMigrated,
    tmp_path_factory: pytest.TempPathFactory,
) -> Consumer:
    name = str(request.param)
    world = World()
    world.join(cluster)
    world.sprint("GEM-001", 1, 100, 50)
    functions = [*migrate.owners(), "backlog_service"]  # backlog-setup writes into its tables
    tables = [name] if name in migrate.owners(migrate.FUNCTIONS / "dsm") else functions
    routes = tmp_path_factory.mktemp("routes") / "routes.yaml"
    routes.write_text(shipped_routes())
    environ = {"DATABASE_URL": await make_migrated(*tables), "ROUTES_FILE": str(routes)}
    cluster.deploy(target(name), environ | webhook_requests.SECRETS | AGENT)
    made = Consumer(cluster, world, name, goldens(name))
    for number in range(len(made.examples)):
        await made.good(number)
    return made


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
async def test_a_hostile_event_is_answered_and_costs_the_next_nothing(
    consumer: Consumer, data: st.DataObject
) -> None:
    number = data.draw(st.integers(0, len(consumer.examples) - 1))
    document = data.draw(hostile.versions_of(consumer.examples[number]))
    if isinstance(document, dict) and data.draw(st.booleans()):
        document = document | {"id": str(uuid4())}  # none that came before
    answer = await consumer.send(document)
    assert answer.status_code in (200, 202, 400, 422), (answer.text, document)
    assert answer.status_code < 400 or len(answer.content) <= 512, answer.text
    await consumer.good(number)


# What a megabyte of JSON may be made of.
LARGE = {
    "lists": b"[" + b"[]," * 330_000 + b"[]]",
    "names": b"{" + b",".join(b'"n%d":0' % n for n in range(90_000)) + b"}",
}


# Whoever consumes all reads these further than others.
READ = {LABELLED, TaskRequested.type, "com.grafana.alert.firing"}


@pytest.mark.slow
async def test_a_large_event_holds_up_no_other_request(consumer: Consumer) -> None:
    takes_all = AnyEvent in inputs(consumer.name)
    for example in consumer.examples:
        if takes_all and example["type"] not in READ:
            continue
        for kind, more in LARGE.items():
            new = {"id": str(uuid4()), "data": example["data"] | {"more": 7}}
            body = json.dumps(example | new).encode().replace(b'"more": 7', b'"more": ' + more)
            async with serving_others():
                answer = await consumer.post(body)
            assert answer.status_code in (200, 202, 413, 422), (kind, answer.text)
