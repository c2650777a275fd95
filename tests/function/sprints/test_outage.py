"""A service that is away for seconds, and the circuit breaker that this opens, cost no work.

The Broker retries by the delivery of the base, on a clock that is advanced.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse

from functions.cycle_trigger.main import cycle_trigger
from functions.events.base import Event
from functions.events.cycle import CycleCompleted
from functions.events.schedule import ScheduleDue
from functions.events.scrum import ScrumReported, SprintSimulated
from functions.events.sprint import SprintCompleted, SprintsReported
from functions.scrum_report.main import scrum_report
from functions.scrum_simulate.main import scrum_simulate
from functions.sprint_report.main import sprint_report
from knative.local.timeline import Timeline
from tests.function.sprints.test_scrum_report import SIMULATED
from tests.support.cluster import App, Cluster
from tests.support.delivering import START, delivering
from tests.support.originals import Originals

OUTAGE_S, OPEN_S = 3.0, 30.0
LATER_S = 300.0
SERVICES = {
    *("project-service", "sprint-service", "backlog-service"),
    *("daily-scrum-service", "chronicle-service", "project-orchestrator"),
}
CYCLED = SprintCompleted(project_id="GEM-001", sprint_id="GEM-001-S01", total_tasks=1)
# Each Trigger whose function asks services: the event that it gets, and what comes of it.
TRIGGERS: dict[str, tuple[Any, Event, type[Event]]] = {
    "sprint-report-due": (
        sprint_report,
        ScheduleDue(schedule="sprint-report", time=START),
        SprintsReported,
    ),
    "cycle-trigger-completed": (cycle_trigger, CYCLED, CycleCompleted),
    "scrum-simulate-due": (
        scrum_simulate,
        ScheduleDue(schedule="scrum-simulate", time=START),
        SprintSimulated,
    ),
    "scrum-report-simulated": (scrum_report, SIMULATED, ScrumReported),
}


class Breaker:
    """An orchestrator as it was: requests at once, or a service that is away, open its breaker.

    An open one answers 503 and asks nothing, for 30 s by the clock.
    """

    def __init__(self, cluster: Cluster, timeline: Timeline) -> None:
        self._cluster, self._timeline = cluster, timeline
        self._app: App = cluster.apps["project-orchestrator"]
        self._at_work, self._open_until = 0, 0.0
        self.opened = 0
        cluster.add("project-orchestrator", self)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        now = self._timeline.now()
        if now < self._open_until:
            await self._refuse(scope, receive, send)
        elif self._at_work or self._cluster.down:
            self._open_until, self.opened = now + OPEN_S, self.opened + 1
            await self._refuse(scope, receive, send)
        else:
            self._at_work += 1
            try:
                for _ in range(20):
                    await asyncio.sleep(0)
                await self._app(scope, receive, send)
            finally:
                self._at_work -= 1

    async def _refuse(self, scope: Any, receive: Any, send: Any) -> None:
        answer = JSONResponse({"detail": "Circuit breaker is open"}, 503)
        await answer(scope, receive, send)


@pytest.fixture
def originals(cluster: Cluster) -> Originals:
    originals = Originals()
    originals.join(cluster)
    return originals


@pytest.mark.parametrize("away_s", [OUTAGE_S, OPEN_S], ids=["outage", "breaker"])
@pytest.mark.parametrize("trigger", TRIGGERS)
async def test_what_a_service_was_away_for_is_done_once_it_is_back(
    trigger: str,
    away_s: float,
    cluster: Cluster,
    originals: Originals,
    functions_database: str,
    tmp_path: Path,
) -> None:
    function, event, outcome = TRIGGERS[trigger]
    originals.sprint("GEM-001", 1, 100 if trigger.startswith("cycle") else 25)
    cluster.deploy(function, {"DATABASE_URL": functions_database})
    async with delivering(cluster, trigger, tmp_path) as deliveries:
        cluster.down |= SERVICES
        deliveries.timeline.call_at(START.timestamp() + away_s, cluster.down.clear)
        await deliveries.publish(event)
        await deliveries.advance(LATER_S)
        ((state, attempts),) = await deliveries.ends()
    assert state == "delivered"
    assert attempts > 1
    assert len(cluster.sink.of(outcome)) == 1


async def test_a_cycle_goes_on_past_an_outage_that_opened_the_orchestrators_breaker(
    cluster: Cluster, originals: Originals, functions_database: str, tmp_path: Path
) -> None:
    originals.sprint("GEM-001", 1, 100)
    cluster.deploy(cycle_trigger, {"DATABASE_URL": functions_database})
    async with delivering(cluster, "cycle-trigger-completed", tmp_path) as deliveries:
        breaker = Breaker(cluster, deliveries.timeline)
        cluster.down.add("chronicle-service")
        deliveries.timeline.call_at(START.timestamp() + OUTAGE_S, cluster.down.clear)
        await deliveries.publish(CYCLED)
        await deliveries.advance(LATER_S)
        assert [state for state, _ in await deliveries.ends()] == ["delivered"]
    assert breaker.opened == 1
    assert [one.new_sprint_id for one in cluster.sink.of(CycleCompleted)] == ["GEM-001-S02"]


async def test_projects_that_end_on_the_same_morning_open_no_breaker_and_all_go_on(
    cluster: Cluster, originals: Originals, functions_database: str, tmp_path: Path
) -> None:
    cluster.deploy(cycle_trigger, {"DATABASE_URL": functions_database})
    projects = ["GEM-001", "P-2", "P-3"]
    async with delivering(cluster, "cycle-trigger-completed", tmp_path) as deliveries:
        breaker = Breaker(cluster, deliveries.timeline)
        done = [
            SprintCompleted(
                project_id=project, sprint_id=originals.sprint(project, 1, 100).id, total_tasks=1
            )
            for project in projects
        ]
        await asyncio.gather(*map(deliveries.publish, done))
        await deliveries.advance(LATER_S)
        assert [state for state, _ in await deliveries.ends()] == ["delivered"] * 3
    assert breaker.opened == 0
    assert sorted(one.project_id for one in cluster.sink.of(CycleCompleted)) == projects
