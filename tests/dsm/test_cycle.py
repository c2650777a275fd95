"""A project's whole life through the services: backlog, sprint, scrums, close, next sprint."""

from __future__ import annotations

import json

from functions.events.sprint import SprintStarted
from functions.events.task import TaskUpdated
from functions.kit import cloudevents
from tests.dsm.conftest import Dsm


async def test_the_first_sprint_of_a_project_can_be_orchestrated(dsm: Dsm) -> None:
    await dsm.project()
    await dsm.backlog()

    answer = await dsm.orchestrate(schedule="0 08 * * 1-5")

    assert answer["sprint_id"] == "GEM-001-S01"
    assert answer["cronjob_name"] == "run-dailyscrum-gem-001-gem-001-s01"
    assert answer["actions_taken"] == [
        "Created new sprint GEM-001-S01",
        "Assigned 10 tasks to sprint",
        "Created cronjob run-dailyscrum-gem-001-gem-001-s01",
    ]
    assert answer["decisions"]["warnings"] == []


async def test_a_cycle_closes_the_finished_sprint_and_starts_the_next(dsm: Dsm) -> None:
    first = await dsm.sprint()
    await dsm.orchestrate()
    await dsm.finish(first)

    closed = await dsm.orchestrate()
    assert closed["actions_taken"][0] == "Closed sprint GEM-001-S01"
    assert await dsm.schedules() == {}
    await dsm.backlog()
    started = await dsm.orchestrate()
    assert started["sprint_id"] == "GEM-001-S02"
    idle = await dsm.orchestrate()

    assert idle["actions_taken"] == []
    assert "No action needed" in idle["decisions"]["reasoning"]
    summary = await dsm.get("sprint-service", "/sprints/GEM-001-S01/task-summary")
    assert summary == {"total_tasks": 10, "completed_tasks": 10, "pending_tasks": 0}
    assert list(await dsm.schedules()) == ["run-dailyscrum-gem-001-gem-001-s02"]


async def test_the_sprints_schedule_names_itself_its_project_and_sprint(dsm: Dsm) -> None:
    await dsm.project()
    await dsm.backlog()
    await dsm.orchestrate(schedule="0 09 * * 1-5")

    source = (await dsm.schedules())["run-dailyscrum-gem-001-gem-001-s01"]["spec"]

    assert source["schedule"] == "0 09 * * 1-5"
    assert json.loads(source["data"]) == {"project_id": "GEM-001", "sprint_id": "GEM-001-S01"}
    name = "run-dailyscrum-gem-001-gem-001-s01"
    assert source["ceOverrides"] == {"extensions": {"schedule": name, "family": "run-dailyscrum"}}
    assert source["sink"]["ref"]["kind"] == "Broker"


async def test_a_scrum_moves_each_task_by_5_to_35_percent(dsm: Dsm) -> None:
    sprint = await dsm.sprint()

    answer = await dsm.post("daily-scrum-service", f"/scrums/{sprint}/run")

    assert answer["tasks_updated_count"] == 10
    made = [int(update["progress_made"].rstrip("%")) for update in answer["updates"]]
    assert all(5 <= percent <= 35 for percent in made)
    tasks = await dsm.get("sprint-service", f"/sprints/{sprint}/tasks")
    assert {t["task_id"]: t["progress_percentage"] for t in tasks} == {
        u["task_id"]: int(u["new_status"].rstrip("%")) for u in answer["updates"]
    }
    assert {t["status"] for t in tasks} == {"in_progress"}
    assert len({u["created_at"] for u in answer["updates"]}) == 10


async def test_scrums_bring_a_sprint_to_its_end_and_never_beyond(dsm: Dsm) -> None:
    sprint = await dsm.sprint()
    for _ in range(20):
        answer = await dsm.post("daily-scrum-service", f"/scrums/{sprint}/run")

    assert answer == {
        "message": "No tasks found for sprint.",
        "tasks_updated_count": 0,
        "updates": [],
    }
    tasks = await dsm.get("sprint-service", f"/sprints/{sprint}/tasks")
    assert {(t["progress_percentage"], t["status"]) for t in tasks} == {(100, "completed")}


async def test_starting_a_sprint_tells_the_broker_of_it_and_its_tasks(dsm: Dsm) -> None:
    sprint = await dsm.sprint()

    [started] = dsm.cluster.sink.of(SprintStarted)
    updates = dsm.cluster.sink.of(TaskUpdated)
    assert started.sprint_id == sprint
    assert sorted(u.task_id for u in updates) == sorted(started.task_ids)
    assert {u.status for u in updates} == {"assigned_to_sprint"}


async def test_the_backlog_learns_of_progress_by_events(dsm: Dsm) -> None:
    sprint = await dsm.sprint()
    tasks = await dsm.get("sprint-service", f"/sprints/{sprint}/tasks")
    moved = {"progress_percentage": 40}
    await dsm.post("sprint-service", f"/tasks/{tasks[0]['task_id']}/progress", moved)

    async with dsm.cluster.client("backlog-service") as client:
        for message in reversed(dsm.cluster.sink.messages):
            if message.type == TaskUpdated.type:
                headers, body = cloudevents.encode(message)
                answer = await client.post("/events", headers=headers, content=body)
                assert (answer.status_code, answer.content) == (202, b"")

    task = await dsm.get("backlog-service", f"/tasks/{tasks[0]['task_id']}")
    assert (task["progress_percentage"], task["status"]) == (40, "in_progress")


async def test_sample_data_is_made_once(dsm: Dsm) -> None:
    made = await dsm.post("project-orchestrator", "/sample-data")
    again = await dsm.post("project-orchestrator", "/sample-data")

    assert made["created"]
    assert not again["created"]
    assert len(await dsm.get("project-service", "/projects")) == 11
    assert len(await dsm.get("project-service", "/teams/PHE001/members")) == 10
    summary = await dsm.get("sprint-service", f"/sprints/{made['finished_sprint']}/task-summary")
    assert summary == {"total_tasks": 10, "completed_tasks": 10, "pending_tasks": 0}
    half = await dsm.get("sprint-service", f"/sprints/{made['sprint_in_progress']}/task-summary")
    assert half == {"total_tasks": 10, "completed_tasks": 3, "pending_tasks": 7}


async def test_the_sprints_of_the_sample_data_have_a_history(dsm: Dsm) -> None:
    made = await dsm.post("project-orchestrator", "/sample-data")
    for name, left in (("finished_sprint", 0), ("sprint_in_progress", 4.7)):
        at = f"/v1/analytics/sprint/{made[name]}/burndown"
        days = (await dsm.get("chronicle-service", at))["days"]
        sprint = (await dsm.get("sprint-service", f"/sprints/{made[name]}"))["sprint"]
        assert len(days) >= 3
        assert sprint["start_date"] <= days[0]["date"]
        assert days[-1]["date"] < sprint["end_date"]
        remaining = [day["remaining"] for day in days]
        assert remaining == sorted(remaining, reverse=True)
        assert remaining[0] > remaining[-1] == left
