"""Whatever an event says, each function and service answers it, and the next one as ever.

Every kind of event that one consumes, with ids, names and texts that fit nothing: never 500, never
over 512 bytes, and the good event that comes afterwards is handled like the one before.
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
from functions.events.webhook import TaskRequested
from functions.kit.durable import migrate
from tests.conftest import MakeMigrated
from tests.support import hostile, webhook_requests
from tests.support.cluster import Cluster
from tests.support.dsm_services import World
from tests.support.job_world import shipped_routes
from tests.support.repository import GOLDEN, all_folders, event_types, target

CASES = 25


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


@dataclass(frozen=True)
class Consumer:
    """`before` are the statuses of good events, like the `examples`, before all others."""

    cluster: Cluster
    world: World
    name: str
    examples: list[dict[str, Any]]
    before: list[int]


CONSUMERS = [name for name in sorted(all_folders()) if inputs(name)]


@pytest.fixture(params=CONSUMERS)
async def consumer(
    request: pytest.FixtureRequest,
    cluster: Cluster,
    make_migrated: MakeMigrated,
    tmp_path_factory: pytest.TempPathFactory,
) -> Consumer:
    """A function with its database, with the services that it calls in memory."""
    name = str(request.param)
    world = World()
    world.join(cluster)
    world.sprint("GEM-001", 1, 100, 50)
    functions = [*migrate.owners(), "backlog_service"]  # backlog-setup writes into its tables
    tables = [name] if name in migrate.owners(migrate.FUNCTIONS / "dsm") else functions
    routes = tmp_path_factory.mktemp("routes") / "routes.yaml"
    routes.write_text(shipped_routes())
    environ = {"DATABASE_URL": await make_migrated(*tables), "ROUTES_FILE": str(routes)}
    cluster.deploy(target(name), environ | webhook_requests.SECRETS)
    examples = [fresh(world, name, example) for example in goldens(name)]
    before = [await good(cluster, world, name, example) for example in examples]
    done = [status in (200, 202) for status in before]
    assert done == [(name, one["type"]) not in UNFIT for one in examples], before
    return Consumer(cluster, world, name, examples, before)


async def sent(cluster: Cluster, name: str, document: Any) -> httpx.Response:
    headers = {"content-type": "application/cloudevents+json"}
    async with cluster.client(name.replace("_", "-")) as client:
        return await client.post("/", headers=headers, content=json.dumps(document))


# Good events that are refused all the same: an answer to no run, work for an agent without an
# image.
UNFIT = {
    ("orchestrator", StepAnswered.type),
    ("job_launcher", "com.github.issue.labeled"),
    ("job_launcher", TaskRequested.type),
}
STEPS = {
    "realm_service": ("realm-service", "createRealm", {}),
    "client_service": ("client-service", "createClient", {"createRealm": {"realmId": "r"}}),
}


def fresh(world: World, name: str, example: dict[str, Any]) -> dict[str, Any]:
    """An example under a new id, about what no event was about before, and can be done."""
    new = str(uuid4())
    made = copy.deepcopy(example) | {"id": new}
    if name == "cycle_trigger" and "schedule" not in made:
        sprint = world.sprint(new, 1, 100)
        made["data"]["project_id"] = new
        if "sprint_id" in made["data"]:
            made["data"]["sprint_id"] = sprint.id
    elif name in STEPS:
        worker, step, results = STEPS[name]
        made |= {"orchname": "tenantCreation", "stepname": step, "workername": worker}
        made["data"] |= {"flowId": new, "effectKey": f"{new}/{step}/1", "results": results}
        made["data"] |= {"payload": {"tenantId": new}, "objectType": "String"}
    return made


async def good(cluster: Cluster, world: World, name: str, example: dict[str, Any]) -> int:
    """The status of a new event that is like an example."""
    return (await sent(cluster, name, fresh(world, name, example))).status_code


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
async def test_a_hostile_event_is_answered_and_costs_the_next_nothing(
    consumer: Consumer, data: st.DataObject
) -> None:
    cluster, name = consumer.cluster, consumer.name
    number = data.draw(st.integers(0, len(consumer.examples) - 1))
    document = data.draw(hostile.versions_of(consumer.examples[number]))
    if isinstance(document, dict) and data.draw(st.booleans()):
        document = document | {"id": str(uuid4())}  # none that came before
    answer = await sent(cluster, name, document)
    assert answer.status_code in (200, 202, 400, 422), (answer.text, document)
    assert answer.status_code < 400 or len(answer.content) <= 512, answer.text
    after = await good(cluster, consumer.world, name, consumer.examples[number])
    assert after == consumer.before[number]
