"""One project whose every field is hostile costs the others nothing, through every daily function.

Ids, names and texts of all alphabets, lengths and control characters, wrong types and missing
fields: GEM-001 beside them is reported, simulated, filed and given its next cycle all the same.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from functions.cycle_trigger.main import cycle_trigger
from functions.dead_letter.main import dead_letter
from functions.events.cycle import CycleCompleted
from functions.events.schedule import ScheduleDue
from functions.events.scrum import ScrumReported, SprintSimulated
from functions.events.sprint import SprintCompleted, SprintsReported
from functions.kit import cloudevents
from functions.scrum_report.main import scrum_report
from functions.scrum_simulate.main import scrum_simulate
from functions.sprint_report.main import sprint_report
from tests.support.cluster import Cluster, Sink, message_of
from tests.support.dsm_services import FakeSprint, World
from tests.support.hostile import anything, texts

FUNCTIONS = (sprint_report, cycle_trigger, scrum_simulate, scrum_report, dead_letter)
CONSUMED = {
    SprintCompleted.type: "cycle-trigger",
    SprintSimulated.type: "scrum-report",
}


class Hostile(FakeSprint):
    """A sprint whose fields are what they are."""

    def __init__(
        self, project: str, id: str, fields: dict[str, Any], task: dict[str, Any], done: int = 100
    ) -> None:
        super().__init__(project, id, {"T1": done})
        self.fields, self.task = fields, task

    def as_json(self) -> dict[str, Any]:
        return super().as_json() | self.fields

    def tasks_as_json(self) -> list[dict[str, Any]]:
        return [task | self.task for task in super().tasks_as_json()]


class Broker(Sink):
    """Keeps what it is sent, and hands it to its consumers."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self.cluster = cluster
        self.refusals: list[httpx.Response] = []

    async def deliver(self, name: str, event: Any) -> None:
        """One event and all that it sets off."""
        arrived = len(self.messages)
        response = await self.cluster.tell(name, event)
        if response.status_code == 200:
            self.messages.append(cloudevents.decode(response.headers.raw, response.content))
        elif response.status_code != 202:
            self.refusals.append(response)
            await self.bury(name, event, response)
        for message in self.messages[arrived:]:
            if message.type in CONSUMED:
                await self.deliver(CONSUMED[message.type], message)

    async def bury(self, name: str, event: Any, why: httpx.Response) -> None:
        """What a Broker does with an event that it cannot deliver."""
        message = event if isinstance(event, cloudevents.Message) else message_of(event)
        marks = {
            "knativeerrordest": f"http://{name}.dsm.svc.cluster.local/",
            "knativeerrorcode": str(why.status_code),
            "knativeerrordata": base64.b64encode(why.content).decode(),
        }
        dead = replace(message, extensions={**message.extensions, **marks})
        assert (await self.cluster.tell("dead-letter", dead)).status_code == 202

    async def dead_letters(self) -> list[Any]:
        async with self.cluster.client("dead-letter") as client:
            found: list[Any] = (await client.get("/dead-letters")).json()["dead_letters"]
        return found


@pytest.fixture
def broker(cluster: Cluster, functions_database: str) -> Broker:
    broker = cluster.sink = Broker(cluster)
    cluster.add("broker-ingress", broker)
    for target in FUNCTIONS:
        cluster.deploy(target, {"DATABASE_URL": functions_database})
    return broker


days = iter(range(100_000))


@given(
    project=texts,
    sprint=texts,
    fields=st.dictionaries(
        st.sampled_from(["sprint_id", "project_id", "sprint_name", "start_date", "duration_weeks"]),
        anything,
        max_size=3,
    ),
    task=st.dictionaries(
        st.sampled_from(["task_id", "title", "status", "assigned_to", "progress_percentage"]),
        anything,
        max_size=3,
    ),
)
@example(project="..", sprint=".", fields={}, task={})
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_a_hostile_project_costs_no_other_its_morning(
    project: str, sprint: str, fields: dict[str, Any], task: dict[str, Any], broker: Broker
) -> None:
    number = next(days)
    good = f"GEM-{number}"
    world = World()
    world.join(broker.cluster)
    world.sprint(good, 1, 100, 100)
    world.sprint(f"{good}-B", 1, 0, 50)
    world.projects.append(project)
    world.sprints.insert(0, Hostile(project, sprint, fields, task))
    broker.messages.clear()
    broker.refusals.clear()

    at = datetime(2026, 3, 2, 14, 30, tzinfo=UTC) + timedelta(days=number)
    await broker.deliver("sprint-report", ScheduleDue(schedule="sprint-report", time=at))
    await broker.deliver("scrum-simulate", ScheduleDue(schedule="scrum-simulate", time=at))

    (report,) = broker.of(SprintsReported)
    rows = {row.project_id: row.state for row in report.sprints}
    assert (rows[good], rows[f"{good}-B"]) == ("complete", "active")
    own = [row for row in report.sprints if row.project_id not in (good, f"{good}-B")]
    assert own, "the hostile one has a row too"
    assert all(row.detail for row in own if row.state == "error"), "and a reason"
    assert report.failed == sum(row.state == "error" for row in own)
    assert f"{good}-S02" in [done.new_sprint_id for done in broker.of(CycleCompleted)]
    assert f"{good}-B-S01" in [day.sprint_id for day in broker.of(SprintSimulated)]
    assert f"{good}-B-S01" in [day.sprint_id for day in broker.of(ScrumReported)]
    simulated = [day.sprint_id for day in broker.of(SprintSimulated)]
    assert any(not id.startswith(good) for id in simulated) or broker.refusals, (
        "simulated, or a dead letter"
    )
    for refusal in broker.refusals:
        assert refusal.status_code in (400, 422, 503), refusal.text
        assert len(refusal.content) <= 512


NAME = "Ü漢🎉ع '\"<b>%00\u202e"


@pytest.mark.parametrize(
    ("fields", "summary", "state"),
    [
        ({"start_date": {"$gt": ""}}, None, "error"),
        ({"sprint_id": ["x"]}, None, "error"),
        ({}, {"total_tasks": 10**400}, "error"),
        ({}, None, "active"),
    ],
    ids=["no-date", "no-id", "counts-that-cannot-be", "only-its-tasks"],
)
async def test_what_cannot_be_done_for_it_is_a_row_an_event_and_a_dead_letter(
    broker: Broker, fields: dict[str, Any], summary: object, state: str
) -> None:
    world = World()
    world.join(broker.cluster)
    world.sprint("GEM-001", 1, 0, 50)
    hostile = Hostile(NAME, f"{NAME}-S01", fields, {"progress_percentage": "many"}, 50)
    world.projects.append(NAME)
    world.sprints.insert(0, hostile)
    if summary is not None:
        world.answers[f"GET /sprints/{hostile.id}/task-summary"] = (200, summary)

    at = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
    await broker.deliver("sprint-report", ScheduleDue(schedule="sprint-report", time=at))
    await broker.deliver("scrum-simulate", ScheduleDue(schedule="scrum-simulate", time=at))

    (report,) = broker.of(SprintsReported)
    (row,) = [row for row in report.sprints if row.project_id == NAME]
    assert (row.state, bool(row.detail)) == (state, state == "error")
    assert report.failed == (state == "error")
    assert [day.sprint_id for day in broker.of(SprintSimulated)] == ["GEM-001-S01"]
    (dead,) = await broker.dead_letters()
    assert dead["function"] == "scrum-simulate"
    assert NAME in json.loads(dead["detail"])["detail"], "it says of whom it is"
