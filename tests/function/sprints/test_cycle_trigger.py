"""cycle-trigger: a finished sprint has one cycle of four checked steps, whatever happens."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from functions.cycle_trigger.main import cycle_trigger
from functions.events.base import Event
from functions.events.cycle import CycleCompleted, CycleRequested
from functions.events.sprint import SprintCompleted
from functions.kit import cloudevents
from functions.kit.contract import envelope
from tests.support.cluster import Cluster, message_of
from tests.support.dsm_services import Flaky, World

DONE = SprintCompleted(project_id="GEM-001", sprint_id="GEM-001-S01", total_tasks=2)
FOUR = [
    "POST /orchestrate/project/GEM-001",
    "POST /backlogs/GEM-001",
    "POST /orchestrate/project/GEM-001",
    "POST /orchestrate/project/GEM-001",
]

LOOK = "GET /backlogs/GEM-001/summary"
CALLS = [FOUR[0], LOOK, *FOUR[1:]]


@pytest.fixture
def schedules(tmp_path: Path) -> Path:
    file = tmp_path / "cronjob-schedule.json"
    file.write_text(json.dumps({"gem-001": "0 13 * * 1-5", "bad-001": "61 * * * *"}))
    return file


@pytest.fixture
def cycle(cluster: Cluster, world: World, functions_database: str, schedules: Path) -> Cluster:
    cluster.deploy(
        cycle_trigger,
        {"DATABASE_URL": functions_database, "CYCLE_SCHEDULES_FILE": str(schedules)},
    )
    world.sprint("GEM-001", 1, 100, 100)
    return cluster


def put(file: Path, text: str) -> None:
    file.write_text(text)


async def completed(cycle: Cluster, event: Event | cloudevents.Message) -> CycleCompleted:
    """What cycle-trigger emits for an event."""
    received = envelope.open_(await cycle.ask("cycle-trigger", event), (CycleCompleted,))
    assert isinstance(received, CycleCompleted)
    return received


async def test_a_finished_sprint_is_followed_by_the_next(cycle: Cluster, world: World) -> None:
    received = await completed(cycle, DONE)

    assert (received.closed_sprint_id, received.new_sprint_id) == ("GEM-001-S01", "GEM-001-S02")
    assert received.schedule == "0 13 * * 1-5"
    assert received.warnings == []
    assert [(step.name, step.did) for step in received.steps] == [
        ("close-sprint", ["Closed sprint GEM-001-S01"]),
        ("generate-backlog", ["Generated 10 tasks for GEM-001"]),
        ("start-sprint", ["Created new sprint GEM-001-S02", "Assigned 10 tasks to sprint"]),
        ("verify", ["Nothing to do."]),
    ]
    assert all(step.took_ms > 0 for step in received.steps)
    assert world.writes == FOUR
    assert world.requests[0][1] == {
        "action": "analyze_and_orchestrate",
        "options": {
            "create_sprint_if_needed": True,
            "assign_tasks": True,
            "create_cronjob": True,
            "schedule": "0 13 * * 1-5",
            "sprint_duration_weeks": 2,
            "max_tasks_per_sprint": 10,
        },
    }


async def test_the_next_mornings_report_of_the_same_sprint_changes_nothing(
    cycle: Cluster, world: World
) -> None:
    for _ in range(2):
        assert (await cycle.tell("cycle-trigger", DONE)).status_code == 202
    assert cycle.sink.types() == [CycleCompleted.type]
    assert world.writes == FOUR


async def test_two_at_once_make_one_cycle(cycle: Cluster, world: World) -> None:
    one, other, user = await asyncio.gather(
        cycle.tell("cycle-trigger", DONE),
        cycle.tell("cycle-trigger", DONE),
        cycle.tell("cycle-trigger", CycleRequested(project_id="GEM-001")),
    )
    assert [response.status_code for response in (one, other)] == [202, 202]
    [fact] = cycle.sink.of(CycleCompleted)
    assert fact.new_sprint_id == "GEM-001-S02"
    if user.status_code != 202:  # came last: the sprint that a user sees then is the new one
        assert "GEM-001-S02 is not complete" in user.text
    assert world.writes == FOUR


async def test_a_user_may_ask_by_name(cycle: Cluster, world: World) -> None:
    async with cycle.client("cycle-trigger") as client:
        response = await client.post("/", json={"project_id": "GEM-001"})
    assert response.status_code == 200, response.text
    [event] = response.json()["events"]
    assert event["data"]["new_sprint_id"] == "GEM-001-S02"
    assert world.writes == FOUR


async def test_a_completion_after_a_users_cycle_runs_no_second_one(
    cycle: Cluster, world: World
) -> None:
    await cycle.tell("cycle-trigger", CycleRequested(project_id="GEM-001"))
    assert (await cycle.tell("cycle-trigger", DONE)).status_code == 202
    [fact] = cycle.sink.of(CycleCompleted)
    assert fact.new_sprint_id == "GEM-001-S02"
    assert world.writes == FOUR


async def test_a_sprint_that_is_not_complete_has_no_cycle(cycle: Cluster, world: World) -> None:
    world.sprints[0].tasks["late"] = 99
    response = await cycle.tell("cycle-trigger", CycleRequested(project_id="GEM-001"))
    assert response.status_code == 422
    assert "2 of 3 tasks" in response.json()["detail"]
    assert world.writes == []


async def test_a_project_without_a_sprint_gets_its_first(cycle: Cluster, world: World) -> None:
    received = await completed(cycle, CycleRequested(project_id="NEX005"))
    assert (received.closed_sprint_id, received.new_sprint_id) == (None, "NEX005-S01")
    assert received.schedule == "0 08 * * 1-5"
    assert received.warnings == ["no schedule for project nex005: taking 0 08 * * 1-5"]


def goes_on(cut: int, lose_answer: bool) -> list[str]:
    """The calls of a cycle of which one was cut off: that one, or a look at what came of it."""
    off = CALLS[cut - 1]
    look = [LOOK] if off == "POST /backlogs/GEM-001" else []  # sprint-service tells of the others
    is_seen = lose_answer and off != LOOK and cut < len(CALLS)  # verifying is harmless: it is anew
    return look + CALLS[cut if is_seen else cut - 1 :]


@pytest.mark.parametrize("lose_answer", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("cut", range(1, len(CALLS) + 1))
@pytest.mark.parametrize(
    "event", [DONE, CycleRequested(project_id="GEM-001")], ids=["completed", "requested"]
)
async def test_a_cycle_cut_off_at_any_call_goes_on_where_it_was(
    event: SprintCompleted | CycleRequested,
    cut: int,
    lose_answer: bool,
    cycle: Cluster,
    world: World,
) -> None:
    flaky = Flaky(cycle, ["project-orchestrator", "backlog-service"], cut, lose_answer)
    message = message_of(event)

    first = await cycle.tell("cycle-trigger", message)
    assert first.status_code == 503
    assert flaky.asked == CALLS[:cut]
    received = await completed(cycle, message)

    assert received.new_sprint_id == "GEM-001-S02"
    assert world.writes == FOUR
    assert flaky.asked[cut:] == goes_on(cut, lose_answer)
    assert [s.id for s in world.sprints] == ["GEM-001-S02", "GEM-001-S01"]


async def test_a_user_goes_on_with_a_cycle_that_was_cut_off(cycle: Cluster, world: World) -> None:
    Flaky(cycle, ["project-orchestrator", "backlog-service"], 3, False)
    assert (await cycle.tell("cycle-trigger", DONE)).status_code == 503
    received = await completed(cycle, CycleRequested(project_id="GEM-001"))
    assert received.closed_sprint_id == "GEM-001-S01"
    assert world.writes == FOUR


@pytest.mark.parametrize(
    ("at", "answer", "expected_text"),
    [
        (
            "/orchestrate/project/GEM-001",
            (200, {"project_id": "GEM-001", "decisions": {"reasoning": "Team is away."}}),
            "close-sprint: sprint GEM-001-S01 was not closed: Team is away.",
        ),
        (
            "/backlogs/GEM-001",
            (201, {"message": "nothing", "tasks_count": 0}),
            "generate-backlog: no task was generated for GEM-001: nothing",
        ),
    ],
    ids=["not-closed", "no-tasks"],
)
async def test_an_answer_that_means_failure_is_one(
    at: str, answer: tuple[int, object], expected_text: str, cycle: Cluster, world: World
) -> None:
    world.answers[f"POST {at}"] = answer
    response = await cycle.tell("cycle-trigger", DONE)
    assert response.status_code == 422
    assert response.json()["detail"] == expected_text

    # Once the cause is gone, the same event succeeds, though services remember their answers.
    world.answers.clear()
    assert (await completed(cycle, DONE)).new_sprint_id == "GEM-001-S02"


async def test_no_new_sprint_is_a_failure_with_a_reason(cycle: Cluster, world: World) -> None:
    world.answers["POST /backlogs/GEM-001"] = (201, {"message": "ok", "tasks_count": 10})
    response = await cycle.tell("cycle-trigger", DONE)
    assert response.status_code == 422
    assert "start-sprint: no sprint was started for GEM-001" in response.json()["detail"]


async def test_a_sprint_that_was_followed_up_elsewhere_is_left_alone(
    cycle: Cluster, world: World
) -> None:
    world.sprints[0].status = "completed"
    world.sprint("GEM-001", 2, 0, 0)
    response = await cycle.tell("cycle-trigger", DONE)
    assert response.status_code == 422
    assert "GEM-001-S02 is active" in response.json()["detail"]
    assert "POST /backlogs/GEM-001" not in world.writes


@pytest.mark.parametrize("name", ["project-orchestrator", "backlog-service"])
async def test_a_service_that_is_down_is_waited_for(
    name: str, cycle: Cluster, world: World
) -> None:
    cycle.down.add(name)
    response = await cycle.tell("cycle-trigger", DONE)
    assert response.status_code == 503
    assert name in response.json()["detail"]
    cycle.down.clear()
    await completed(cycle, DONE)
    assert world.writes == FOUR


async def test_a_bad_cron_is_refused_with_the_projects_name(cycle: Cluster, world: World) -> None:
    world.sprint("BAD-001", 1, 100)
    response = await cycle.tell("cycle-trigger", CycleRequested(project_id="BAD-001"))
    assert response.status_code == 422
    assert "project BAD-001: '61 * * * *'" in response.json()["detail"]
    assert world.writes == []


@pytest.mark.parametrize(
    ("text", "expected_text"),
    [("{", "no valid JSON"), ("[]", "must be a JSON object"), ('{"gem-001": 5}', "five fields")],
    ids=["broken", "list", "number"],
)
async def test_a_bad_file_is_refused(
    text: str, expected_text: str, cycle: Cluster, schedules: Path
) -> None:
    put(schedules, text)
    response = await cycle.tell("cycle-trigger", DONE)
    assert response.status_code == 422
    assert expected_text in response.json()["detail"]


async def test_a_schedule_that_changes_midway_does_not_change_the_request(
    cycle: Cluster, world: World, schedules: Path
) -> None:
    Flaky(cycle, ["project-orchestrator", "backlog-service"], 3, True)
    assert (await cycle.tell("cycle-trigger", DONE)).status_code == 503
    put(schedules, '{"gem-001": "0 20 * * 1-5"}')
    assert (await completed(cycle, DONE)).schedule == "0 13 * * 1-5"
