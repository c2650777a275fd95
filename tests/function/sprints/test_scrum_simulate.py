"""scrum-simulate: a sprint's day is simulated once; one that fails holds up no other."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from starlette.responses import JSONResponse

from functions.events.schedule import ScheduleDue
from functions.events.scrum import ScrumRequested, SprintSimulated, TaskMoved
from functions.kit import cloudevents
from functions.kit.contract import envelope
from functions.scrum_simulate.main import scrum_simulate
from tests.support import eventually
from tests.support.cluster import Cluster, message_of
from tests.support.dsm_services import MOVED_AT, Flaky, World

DUE = datetime(2025, 8, 29, 14, 0, 0, 300_000, tzinfo=UTC)
TICK = ScheduleDue(schedule="scrum-simulate", time=DUE)


def own_tick(sprint: str = "GEM-001-S01", project: str = "GEM-001") -> ScheduleDue:
    """What the schedule of one sprint sends."""
    return ScheduleDue(
        schedule=f"run-dailyscrum-{project}-{sprint}".lower(),
        time=DUE,
        project_id=project,
        sprint_id=sprint,
    )


def event_of(message: cloudevents.Message) -> SprintSimulated:
    event = envelope.open_(message, (SprintSimulated,))
    assert isinstance(event, SprintSimulated)
    return event


@pytest.fixture
def scrum(cluster: Cluster, world: World, functions_database: str) -> Cluster:
    cluster.deploy(scrum_simulate, {"DATABASE_URL": functions_database})
    return cluster


async def test_a_tick_simulates_every_active_sprint(scrum: Cluster, world: World) -> None:
    world.sprint("GEM-001", 1, 0, 90, 100)
    world.sprint("TEST-001", 1, 100).status = "completed"
    world.sprint("TEST-001", 2, 50)

    response = await scrum.tell("scrum-simulate", TICK)

    assert (response.status_code, response.content) == (202, b"")
    received = {event.sprint_id: event for event in scrum.sink.of(SprintSimulated)}
    assert set(received) == {"GEM-001-S01", "TEST-001-S02"}
    gem = received["GEM-001-S01"]
    assert (gem.scrum_date, gem.simulated_at) == (date(2025, 8, 29), MOVED_AT)
    assert gem.moved == [
        TaskMoved(task_id="GEM-001-S01-T1", progress_made=20, progress=20, moved_at=MOVED_AT),
        TaskMoved(task_id="GEM-001-S01-T2", progress_made=10, progress=100, moved_at=MOVED_AT),
    ]


async def test_an_event_is_about_its_sprint(scrum: Cluster, world: World) -> None:
    world.sprint("GEM-001", 1, 0)
    sent = await scrum.ask("scrum-simulate", own_tick())
    assert (sent.type, sent.subject) == (SprintSimulated.type, "GEM-001-S01")


async def test_a_second_tick_on_that_day_moves_nothing(scrum: Cluster, world: World) -> None:
    sprint = world.sprint("GEM-001", 1, 0)
    first = await scrum.ask("scrum-simulate", TICK)
    assert (await scrum.tell("scrum-simulate", TICK)).status_code == 202
    assert scrum.sink.messages == [first]
    other = await scrum.ask("scrum-simulate", own_tick())
    assert sprint.tasks == {"GEM-001-S01-T1": 20}
    assert other.json() == first.json()


async def test_the_next_day_moves_again(scrum: Cluster, world: World) -> None:
    sprint = world.sprint("GEM-001", 1, 0)
    for day in (28, 29):
        tick = ScheduleDue(schedule="scrum-simulate", time=datetime(2025, 8, day, 14, tzinfo=UTC))
        assert (await scrum.tell("scrum-simulate", tick)).status_code == 202
    assert sprint.tasks == {"GEM-001-S01-T1": 40}


async def test_a_sprint_that_fails_does_not_hold_up_the_others(
    scrum: Cluster, world: World
) -> None:
    world.sprint("GEM-001", 1, 0)
    world.sprint("TEST-001", 1, 0)
    world.sprint("ZEP010", 1, 0)
    world.answers["POST /scrums/TEST-001-S01/run"] = (500, {"detail": "disk full"})

    first = await scrum.tell("scrum-simulate", TICK)
    assert first.status_code == 503
    assert "disk full" in first.json()["detail"]
    assert {e.sprint_id for e in scrum.sink.of(SprintSimulated)} == {"GEM-001-S01", "ZEP010-S01"}

    world.answers.clear()
    assert (await scrum.tell("scrum-simulate", TICK)).status_code == 202
    assert {s.id: list(s.tasks.values()) for s in world.sprints} == {
        "GEM-001-S01": [20],
        "TEST-001-S01": [20],
        "ZEP010-S01": [20],
    }
    ids = {(m.subject, m.id) for m in scrum.sink.messages}
    assert len(ids) == 3, "a repeat says the same facts under the same ids"


async def test_a_day_on_which_nothing_moves_is_simulated_and_says_so(
    scrum: Cluster, world: World
) -> None:
    world.sprint("GEM-001", 1, 0, 100)
    world.answers["POST /scrums/GEM-001-S01/run"] = (
        200,
        {"message": "done", "tasks_updated_count": 0, "updates": []},
    )
    received = event_of(await scrum.ask("scrum-simulate", TICK))
    assert received.moved == []
    assert received.warnings == ["Nothing moved although 1 of 2 tasks are not done."]


async def test_a_sprint_whose_tasks_are_all_done_has_moved_nothing(
    scrum: Cluster, world: World
) -> None:
    world.sprint("GEM-001", 1, 100, 100)
    received = event_of(await scrum.ask("scrum-simulate", TICK))
    assert (received.moved, received.warnings) == ([], [])


async def test_a_sprint_alone_names_its_project(scrum: Cluster, world: World) -> None:
    world.sprint("GEM-001", 1, 0)
    async with scrum.client("scrum-simulate") as client:
        response = await client.post("/", json={"sprint_id": "GEM-001-S01"})
    assert response.status_code == 200, response.text
    [event] = response.json()["events"]
    assert event["data"]["project_id"] == "GEM-001"


@pytest.mark.parametrize(
    ("tick", "expected_text"),
    [
        (own_tick("GEM-001-S09"), "404"),
        (own_tick("GEM-001-S01", "TEST-001"), "is of project GEM-001, not of TEST-001"),
    ],
    ids=["no-such-sprint", "another-project"],
)
async def test_a_name_that_is_wrong_is_refused(
    tick: ScheduleDue, expected_text: str, scrum: Cluster, world: World
) -> None:
    world.sprint("GEM-001", 1, 0)
    response = await scrum.tell("scrum-simulate", tick)
    assert response.status_code == 422
    assert expected_text in response.json()["detail"]
    assert world.writes == []


async def test_a_project_without_an_active_sprint_is_refused(scrum: Cluster, world: World) -> None:
    async with scrum.client("scrum-simulate") as client:
        response = await client.post("/", json={"project_id": "GEM-001"})
    assert response.status_code == 422
    assert "GEM-001 has no active sprint" in response.json()["detail"]


@pytest.mark.parametrize(
    "updates",
    [
        [{"task_id": "T", "progress_made": "some", "new_status": "20%"}],
        [{"task_id": None}],
        "many",
    ],
    ids=["no-percentage", "no-id", "no-list"],
)
async def test_what_an_unreadable_answer_moved_is_read_from_the_tasks(
    updates: object, scrum: Cluster, world: World
) -> None:
    sprint = world.sprint("GEM-001", 1, 0, 100)
    answer = {"message": "done", "tasks_updated_count": 1, "updates": updates}
    inner = scrum.apps["daily-scrum-service"]

    async def odd(scope: Any, receive: Any, send: Any) -> None:
        sprint.tasks["GEM-001-S01-T1"] = 20
        await JSONResponse(answer)(scope, receive, send)

    scrum.add("daily-scrum-service", odd)
    received = event_of(await scrum.ask("scrum-simulate", TICK))
    assert [(task.task_id, task.progress) for task in received.moved] == [("GEM-001-S01-T1", 20)]
    assert received.warnings[0].startswith("What moved was read from the tasks: ")
    scrum.add("daily-scrum-service", inner)
    again = ScrumRequested(project_id="GEM-001", scrum_date=DUE.date())
    assert event_of(await scrum.ask("scrum-simulate", again)) == received
    assert sprint.tasks["GEM-001-S01-T1"] == 20


@pytest.mark.parametrize("lose_answer", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("cut", [1, 2, 3])
async def test_a_tick_cut_off_at_any_call_moves_each_task_once(
    cut: int, lose_answer: bool, scrum: Cluster, world: World
) -> None:
    world.sprint("GEM-001", 1, 0)
    world.sprint("TEST-001", 1, 0)
    Flaky(scrum, ["sprint-service", "daily-scrum-service"], cut, lose_answer)

    assert (await scrum.tell("scrum-simulate", TICK)).status_code == 503
    assert (await scrum.tell("scrum-simulate", TICK)).status_code == 202

    assert [list(s.tasks.values()) for s in world.sprints] == [[20], [20]]
    assert {e.sprint_id for e in scrum.sink.of(SprintSimulated)} == {"GEM-001-S01", "TEST-001-S01"}


async def test_a_sink_that_is_down_loses_nothing(scrum: Cluster, world: World) -> None:
    world.sprint("GEM-001", 1, 0)
    world.sprint("TEST-001", 1, 0)
    scrum.down.add("broker-ingress")
    assert (await scrum.tell("scrum-simulate", TICK)).status_code == 202
    assert scrum.sink.messages == []
    scrum.down.clear()

    async def both() -> bool:
        return len(scrum.sink.messages) == 2

    assert await eventually(both)
    assert [list(s.tasks.values()) for s in world.sprints] == [[20], [20]]


async def test_a_request_without_a_date_keeps_its_day(
    cluster: Cluster, world: World, functions_database: str
) -> None:
    world.sprint("GEM-001", 1, 0)
    now = [datetime(2025, 8, 30, 23, 59, tzinfo=UTC)]
    cluster.deploy(scrum_simulate, {"DATABASE_URL": functions_database}, now=lambda: now[0])
    asked = message_of(ScrumRequested(project_id="GEM-001"))
    Flaky(cluster, ["daily-scrum-service"], 1, True)
    assert (await cluster.tell("scrum-simulate", asked)).status_code == 503
    now[0] = datetime(2025, 8, 31, 0, 1, tzinfo=UTC)
    reply = await cluster.ask("scrum-simulate", asked)
    assert reply.json()["scrum_date"] == "2025-08-30"
    assert world.sprints[0].tasks == {"GEM-001-S01-T1": 20}
