"""One project whose every field is hostile costs the others nothing, through every daily function.

Ids, names and texts of all alphabets, lengths and control characters, wrong types and missing
fields: GEM-001 beside them is reported, simulated, filed and given its next cycle all the same.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.cycle_trigger.main import cycle_trigger
from functions.events.cycle import CycleCompleted
from functions.events.schedule import ScheduleDue
from functions.events.scrum import ScrumReported, SprintSimulated
from functions.events.sprint import SprintCompleted, SprintsReported
from functions.kit import cloudevents
from functions.scrum_report.main import scrum_report
from functions.scrum_simulate.main import scrum_simulate
from functions.sprint_report.main import sprint_report
from tests.support.cluster import Cluster, Sink
from tests.support.dsm_services import FakeSprint, World
from tests.support.hostile import anything, texts

FUNCTIONS = (sprint_report, cycle_trigger, scrum_simulate, scrum_report)
CONSUMED = {
    SprintCompleted.type: "cycle-trigger",
    SprintSimulated.type: "scrum-report",
}


class Hostile(FakeSprint):
    """A sprint whose fields are what they are."""

    def __init__(self, project: str, id: str, fields: dict[str, Any], task: dict[str, Any]) -> None:
        super().__init__(project, id, {"T1": 100})
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
        for message in self.messages[arrived:]:
            if message.type in CONSUMED:
                await self.deliver(CONSUMED[message.type], message)


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
    assert len(report.sprints) >= 3, "the hostile one has a row too"
    assert f"{good}-S02" in [done.new_sprint_id for done in broker.of(CycleCompleted)]
    assert f"{good}-B-S01" in [day.sprint_id for day in broker.of(SprintSimulated)]
    assert f"{good}-B-S01" in [day.sprint_id for day in broker.of(ScrumReported)]
    for refusal in broker.refusals:
        assert refusal.status_code in (400, 422, 503), refusal.text
        assert len(refusal.content) <= 512
