"""Many at once, the same again, and others away: nothing is lost and nothing made twice."""

from __future__ import annotations

import asyncio

import pytest

from tests.dsm.conftest import Dsm
from tests.support import eventually


async def test_two_orchestrations_at_once_make_one_sprint(dsm: Dsm) -> None:
    await dsm.project()
    await dsm.backlog()

    answers = await asyncio.gather(*(dsm.orchestrate(key=f"k{n}") for n in range(4)))

    made = [a for a in answers if a["decisions"]["create_new_sprint"]]
    assert len(made) == 1
    assert {a["sprint_id"] for a in answers} == {"GEM-001-S01"}
    assert len(await dsm.get("sprint-service", "/sprints/by-project/GEM-001")) == 1


async def test_two_starts_at_once_make_one_sprint(dsm: Dsm) -> None:
    await dsm.project()
    await dsm.backlog()
    body = {"sprint_name": "s", "duration_weeks": 2}

    answers = await asyncio.gather(
        *(dsm.call("POST", "sprint-service", "/sprints/GEM-001", json=body) for _ in range(4))
    )

    assert sorted(a.status_code for a in answers) == [201, 409, 409, 409]


async def test_a_start_and_its_repeats_at_once_are_one_start(dsm: Dsm) -> None:
    body = {"sprint_name": "s", "duration_weeks": 2}

    async def starts(project: str) -> list[str]:
        await dsm.project(project)
        await dsm.backlog(project)
        at = f"/sprints/{project}"
        made = await asyncio.gather(
            *(dsm.post("sprint-service", at, body, key=f"of {project}") for _ in range(16))
        )
        return [one["sprint_id"] for one in made]

    for number in range(5):
        project = f"GEM-{number}"
        assert await starts(project) == [f"{project}-S01"] * 16


async def test_sample_data_made_twice_at_once_is_there_once(dsm: Dsm) -> None:
    made = await asyncio.gather(*(dsm.post("project-orchestrator", "/sample-data") for _ in "12"))
    assert made[0]["finished_sprint"] == made[1]["finished_sprint"]
    assert len(await dsm.get("sprint-service", "/sprints/by-project/PHE001")) == 1


async def test_generations_at_once_share_no_id(dsm: Dsm) -> None:
    await dsm.project()
    found = await asyncio.gather(*(dsm.backlog() for _ in range(4)))
    assert len({task_id for ids in found for task_id in ids}) == 40


async def test_scrums_at_once_lose_no_move(dsm: Dsm) -> None:
    sprint = await dsm.sprint()
    at = f"/scrums/{sprint}/run"
    answers = await asyncio.gather(
        *(dsm.post("daily-scrum-service", at, key=f"k{n}") for n in range(2))
    )
    made: dict[str, int] = {}
    for answer in answers:
        for update in answer["updates"]:
            percent = int(update["progress_made"].rstrip("%"))
            made[update["task_id"]] = made.get(update["task_id"], 0) + percent
    tasks = await dsm.get("sprint-service", f"/sprints/{sprint}/tasks")
    assert {t["task_id"]: t["progress_percentage"] for t in tasks} == made


@pytest.mark.parametrize("down", ["backlog-service", "project-service"])
async def test_a_service_that_is_away_is_503_and_changes_nothing(dsm: Dsm, down: str) -> None:
    await dsm.project()
    await dsm.backlog()
    dsm.cluster.down.add(down)
    body = {"sprint_name": "s", "duration_weeks": 2}

    message = await dsm.refused(503, "POST", "sprint-service", "/sprints/GEM-001", json=body)

    assert down in message
    assert await dsm.get("sprint-service", "/sprints/by-project/GEM-001") == []


async def test_a_chronicle_that_is_away_is_a_warning_and_notified_later(dsm: Dsm) -> None:
    dsm.cluster.down.add("chronicle-service")
    sprint = await dsm.sprint()
    dsm.cluster.down.clear()
    at = "/v1/notes/sprint_planning"
    assert await dsm.get("chronicle-service", at) == []

    await dsm.post("sprint-service", f"/sprints/{sprint}/close")

    assert len(await dsm.get("chronicle-service", at)) == 1


async def test_a_broker_that_was_away_gets_the_events_unasked(dsm: Dsm) -> None:
    await dsm.project()
    await dsm.backlog()
    dsm.cluster.down.add("broker-ingress")
    body = {"sprint_name": "s", "duration_weeks": 2}
    await dsm.post("sprint-service", "/sprints/GEM-001", body, key="k")
    assert dsm.cluster.sink.messages == []
    dsm.cluster.down.clear()

    async def all_left() -> bool:
        return len(dsm.cluster.sink.messages) == 11

    assert await eventually(all_left)


async def test_a_repeated_key_gets_the_first_answer_and_changes_nothing(dsm: Dsm) -> None:
    sprint = await dsm.sprint()
    calls = [
        ("backlog-service", "/backlogs/GEM-001", None),
        ("backlog-service", "/tasks", {"project_id": "GEM-001", "title": "t"}),
        ("daily-scrum-service", f"/scrums/{sprint}/run", None),
        ("sprint-service", "/tasks/GEM-001-TASK001/progress", {"progress_percentage": 100}),
        ("project-orchestrator", "/orchestrate/project/GEM-001", {}),
        ("chronicle-service", "/v1/notes/sprint_planning", None),
        ("sprint-service", f"/sprints/{sprint}/close", None),
    ]
    planning = {"project_id": "GEM-001", "sprint_id": "S", "sprint_goal": "", "planned_tasks": []}
    for service, at, body in calls:
        given = planning if "planning" in at else body
        first = await dsm.post(service, at, given, key="one")
        before = await dsm.get("backlog-service", "/backlogs/GEM-001")
        assert await dsm.post(service, at, given, key="one") == first, at
        assert await dsm.get("backlog-service", "/backlogs/GEM-001") == before
