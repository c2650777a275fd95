"""The rules by which ours differ from the originals, each as a fact."""

from __future__ import annotations

import pytest

from functions.dsm.project_orchestrator.main import project_orchestrator
from tests.dsm.conftest import TARGETS, Dsm


async def test_a_sprint_with_199_of_200_tasks_done_is_not_complete(dsm: Dsm) -> None:
    await dsm.project()
    for _ in range(20):
        await dsm.backlog()
    body = {"sprint_name": "long", "duration_weeks": 2}
    sprint = (await dsm.post("sprint-service", "/sprints/GEM-001", body))["sprint_id"]
    await dsm.finish(sprint)
    last = {"progress_percentage": 99}
    await dsm.post("sprint-service", "/tasks/GEM-001-TASK200/progress", last)

    summary = await dsm.get("sprint-service", f"/sprints/{sprint}/task-summary")
    answer = await dsm.orchestrate()

    assert summary == {"total_tasks": 200, "completed_tasks": 199, "pending_tasks": 1}
    assert not answer["decisions"]["sprint_closure_triggered"]


async def test_active_sprints_are_those_in_progress_newest_start_first(dsm: Dsm) -> None:
    first = await dsm.sprint()
    await dsm.post("sprint-service", f"/sprints/{first}/close")
    body = {"sprint_name": "second", "duration_weeks": 1}
    second = (await dsm.post("sprint-service", "/sprints/GEM-001", body))["sprint_id"]

    at = "/sprints/by-project/GEM-001"
    running = await dsm.get("sprint-service", at, status="in_progress")
    every = await dsm.get("sprint-service", at)

    assert [s["sprint_id"] for s in running] == [second]
    assert [s["sprint_id"] for s in every] == [second, first]
    assert await dsm.get("sprint-service", "/sprints/list_projects") == [
        {"project_id": "GEM-001", "sprints": every}
    ]
    assert await dsm.get("sprint-service", "/sprints/active/GEM-001") == {"sprint_id": second}
    assert await dsm.get("sprint-service", "/sprints/active") == {"sprint_id": second}


async def test_completion_counts_progress_whatever_the_status_says(dsm: Dsm) -> None:
    sprint = await dsm.sprint()
    at = "/tasks/GEM-001-TASK001/progress"
    await dsm.post("sprint-service", at, {"status": "completed"})
    done = {"status": "odd", "progress_percentage": 100}
    await dsm.post("sprint-service", "/tasks/GEM-001-TASK002/progress", done)

    summary = await dsm.get("sprint-service", f"/sprints/{sprint}/task-summary")

    assert summary == {"total_tasks": 10, "completed_tasks": 1, "pending_tasks": 9}


async def test_the_maximum_of_tasks_of_a_sprint_are_honoured(dsm: Dsm) -> None:
    await dsm.project()
    await dsm.backlog()

    answer = await dsm.orchestrate(max_tasks_per_sprint=3)

    assert "Assigned 3 tasks to sprint" in answer["actions_taken"]
    tasks = await dsm.get("sprint-service", "/sprints/GEM-001-S01/tasks")
    assert [t["task_id"] for t in tasks] == [f"GEM-001-TASK00{n}" for n in (1, 2, 3)]
    summary = await dsm.get("backlog-service", "/backlogs/GEM-001/summary")
    assert summary == {
        "project_id": "GEM-001",
        "total_tasks": 10,
        "status_counts": {"assigned_to_sprint": 3, "unassigned": 7},
        "unassigned_for_sprint_count": 7,
    }


async def test_members_take_tasks_in_turn(dsm: Dsm) -> None:
    sprint = await dsm.sprint(max_tasks_per_sprint=4)
    tasks = await dsm.get("sprint-service", f"/sprints/{sprint}/tasks")
    takers = [task["assigned_to"] for task in tasks]
    assert takers == ["GEM-001-E0", "GEM-001-E1", "GEM-001-E0", "GEM-001-E1"]


async def test_generating_adds_ten_tasks_and_touches_no_other(dsm: Dsm) -> None:
    sprint = await dsm.sprint()
    await dsm.finish(sprint)
    before = await dsm.get("backlog-service", "/backlogs/GEM-001")

    answer = await dsm.post("backlog-service", "/backlogs/GEM-001")

    after = await dsm.get("backlog-service", "/backlogs/GEM-001")
    assert answer["tasks_count"] == 10
    assert after[:10] == before
    assert [t["task_id"] for t in after[10:]] == [f"GEM-001-TASK{n:03d}" for n in range(11, 21)]
    assert {(t["status"], t["progress_percentage"]) for t in after[10:]} == {("unassigned", 0)}


async def test_closing_keeps_the_rows_and_moves_what_is_unfinished(dsm: Dsm) -> None:
    sprint = await dsm.sprint()
    at = "/tasks/GEM-001-TASK001/progress"
    await dsm.post("sprint-service", at, {"progress_percentage": 100})
    at = "/tasks/GEM-001-TASK002/progress"
    await dsm.post("sprint-service", at, {"progress_percentage": 60})

    answer = await dsm.post("sprint-service", f"/sprints/{sprint}/close")

    retrospective = answer.pop("retrospective_report_id")
    assert answer == {
        "message": f"Sprint {sprint} closed",
        "sprint_id": sprint,
        "status_updated_to": "closed_with_pending_tasks",
        "completed_tasks_count": 1,
        "uncompleted_tasks_moved_to_backlog_count": 9,
    }
    summary = await dsm.get("sprint-service", f"/sprints/{sprint}/task-summary")
    assert summary == {"total_tasks": 10, "completed_tasks": 1, "pending_tasks": 9}
    done, moved = (await dsm.get("backlog-service", "/backlogs/GEM-001"))[:2]
    assert (done["status"], done["sprint_id"], done["progress_percentage"]) == (
        *("completed", sprint),
        100,
    )
    assert (moved["status"], moved["sprint_id"], moved["progress_percentage"]) == (
        *("unassigned", None),
        60,
    )
    at = "/v1/notes/sprint_retrospective"
    [sent] = await dsm.get("chronicle-service", at, sprint_id=sprint)
    assert sent["retrospective_id"] == retrospective
    assert "closed" in await dsm.refused(409, "POST", "sprint-service", f"/sprints/{sprint}/close")


async def test_an_unfinished_task_goes_on_in_the_next_sprint(dsm: Dsm) -> None:
    first = await dsm.sprint()
    at = "/tasks/GEM-001-TASK001/progress"
    await dsm.post("sprint-service", at, {"progress_percentage": 60})
    await dsm.post("sprint-service", f"/sprints/{first}/close")
    body = {"sprint_name": "second", "duration_weeks": 1, "max_tasks_per_sprint": 1}
    second = (await dsm.post("sprint-service", "/sprints/GEM-001", body))["sprint_id"]

    await dsm.post("sprint-service", at, {"progress_percentage": 80})

    [task] = await dsm.get("sprint-service", f"/sprints/{second}/tasks")
    assert (task["task_id"], task["progress_percentage"]) == ("GEM-001-TASK001", 80)
    assert (await dsm.get("sprint-service", f"/sprints/{first}/tasks"))[0][
        "progress_percentage"
    ] == 60


async def test_a_closed_sprints_schedule_goes_even_if_another_request_closed_it(dsm: Dsm) -> None:
    await dsm.project()
    await dsm.backlog()
    await dsm.orchestrate()
    await dsm.post("sprint-service", "/sprints/GEM-001-S01/close")

    answer = await dsm.orchestrate()

    assert answer["decisions"]["cronjob_deleted"]
    assert list(await dsm.schedules()) == ["run-dailyscrum-gem-001-gem-001-s02"]


async def test_a_missing_schedule_is_made_again(dsm: Dsm) -> None:
    await dsm.sprint()
    answer = await dsm.orchestrate()
    assert answer["actions_taken"] == ["Created cronjob run-dailyscrum-gem-001-gem-001-s01"]


async def test_without_kubernetes_the_sprint_starts_with_a_warning(
    dsm: Dsm, dsm_databases: dict[str, str]
) -> None:
    await dsm.project()
    await dsm.backlog()
    environ = {"DATABASE_URL": dsm_databases["project_orchestrator"]}
    dsm.cluster.deploy(project_orchestrator, environ)

    answer = await dsm.orchestrate()

    assert answer["sprint_id"] == "GEM-001-S01"
    assert answer["cronjob_name"] is None
    assert any("Failed to create cronjob" in w for w in answer["decisions"]["warnings"])


async def test_holidays_and_leave_are_warnings(dsm: Dsm) -> None:
    await dsm.project()
    await dsm.backlog()
    leave = {"start_date": "2020-01-01", "end_date": "2100-01-01", "reason": "long"}
    at = "/projects/GEM-001/calendar/pto"
    await dsm.post("project-service", f"{at}?employee_id=GEM-001-E0", leave)

    answer = await dsm.orchestrate()

    assert answer["sprint_id"] == "GEM-001-S01"
    assert answer["analysis"]["team_availability"]["status"] == "conflict"
    assert any("GEM-001-E0" in warning for warning in answer["decisions"]["warnings"])
    assert answer["analysis"]["team_size"] == 2
    assert answer["analysis"]["backlog_tasks"] == 10


async def test_sprint_creation_may_be_unwanted(dsm: Dsm) -> None:
    await dsm.project()
    await dsm.backlog()
    answer = await dsm.orchestrate(create_sprint_if_needed=False)
    assert answer["decisions"]["reasoning"].startswith("No specific actions required")
    assert await dsm.get("sprint-service", "/sprints/by-project/GEM-001") == []


@pytest.mark.parametrize("project", ["INTEL-AUDIT-PROJ", "x" * 200, "Ünï_code id"])
async def test_ids_of_any_length_and_characters_go_through_a_cycle(dsm: Dsm, project: str) -> None:
    await dsm.project(project)
    await dsm.backlog(project)
    answer = await dsm.orchestrate(project)
    assert answer["sprint_id"] == f"{project}-S01"
    assert list(await dsm.schedules()) == [answer["cronjob_name"]]
    await dsm.finish(answer["sprint_id"])
    await dsm.orchestrate(project)
    assert await dsm.schedules() == {}


@pytest.mark.parametrize(
    "service", [target.__dict__["api"].name.replace("_", "-") for target in TARGETS]
)
async def test_readiness_says_how_the_database_is(dsm: Dsm, service: str) -> None:
    answer = await dsm.get(service, "/health/ready")
    assert answer["service"] == service
    assert (answer["status"], answer["database"]) == ("ready", "ok")
    assert "timestamp" in answer


async def test_the_status_of_a_project_tells_its_sprint_and_schedules(dsm: Dsm) -> None:
    await dsm.project()
    await dsm.backlog()
    made = await dsm.orchestrate()

    at = "/orchestrate/project/GEM-001/status"
    status = await dsm.get("project-orchestrator", at)

    assert status["current_sprint"] == "GEM-001-S01"
    assert status["cronjobs"] == [made["cronjob_name"]]
    assert status["last_analysis"]["decision"]["action"] == "create"


async def test_a_cronjob_is_deleted_by_name_and_only_if_it_is_the_projects(dsm: Dsm) -> None:
    await dsm.project()
    await dsm.backlog()
    name = (await dsm.orchestrate())["cronjob_name"]
    service = "project-orchestrator"

    await dsm.call("DELETE", service, f"/orchestrate/project/OTHER/cronjob/{name}")
    assert list(await dsm.schedules()) == [name]
    answer = await dsm.call("DELETE", service, f"/orchestrate/project/GEM-001/cronjob/{name}")

    assert answer.json() == {
        "message": f"Deleted cronjob {name}",
        "cronjob_name": name,
        "status": "deleted",
    }
    assert await dsm.schedules() == {}


async def test_what_a_task_was_earlier_never_overwrites_what_it_is(dsm: Dsm) -> None:
    await dsm.sprint()
    place = {"task_id": "GEM-001-TASK001", "status": "in_progress", "sprint_id": "GEM-001-S01"}
    for at, percent in (("2100-01-02", 50), ("2100-01-01", 10)):
        task = place | {"progress_percentage": percent, "assigned_to": None}
        body = {"updated_at": f"{at}T00:00:00Z", "tasks": [task]}
        await dsm.post("backlog-service", "/backlogs/GEM-001/placements", body)
    task = await dsm.get("backlog-service", "/tasks/GEM-001-TASK001")
    assert task["progress_percentage"] == 50
