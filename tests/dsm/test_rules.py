"""The rules by which ours differ from the originals, each as a fact."""

from __future__ import annotations

import asyncio

import pytest

from functions.dsm.project_orchestrator.main import project_orchestrator
from tests.dsm.conftest import TARGETS, Dsm

REPORT = "/v1/notes/daily_scrum_report"


def report(
    day: str = "2026-03-02", sprint: str = "GEM-001-S01", **more: object
) -> dict[str, object]:
    task = {
        "id": "T1",
        "yesterday_work": "w",
        "today_work": "t",
        "impediments": "None reported.",
        "created_at": f"{day}T14:00:00.123456Z",
        "progress_percentage": 40,
    }
    return {
        "project_id": "GEM-001",
        "sprint_id": sprint,
        "report_date": day,
        "summary": "s",
        "summary_metrics": {
            "total_team_members": 1,
            "total_tasks": 2,
            "completed_tasks": 0,
            "pending_tasks": 2,
        },
        "reports": {day: [{"assigned_to": "E1", "tasks": [task]}]},
        **more,
    }


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


async def test_the_most_tasks_of_a_sprint_are_honoured(dsm: Dsm) -> None:
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
    [told] = await dsm.get("chronicle-service", at, sprint_id=sprint)
    assert told["id"] == retrospective
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


async def test_a_closed_sprints_schedule_goes_even_if_somebody_else_closed_it(dsm: Dsm) -> None:
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

    words = await dsm.refused(503, "POST", "sprint-service", "/sprints/GEM-001", json=body)

    assert down in words
    assert await dsm.get("sprint-service", "/sprints/by-project/GEM-001") == []


async def test_a_chronicle_that_is_away_is_a_warning_and_told_later(dsm: Dsm) -> None:
    dsm.cluster.down.add("chronicle-service")
    sprint = await dsm.sprint()
    dsm.cluster.down.clear()
    at = "/v1/notes/sprint_planning"
    assert await dsm.get("chronicle-service", at) == []

    await dsm.post("sprint-service", f"/sprints/{sprint}/close")

    assert len(await dsm.get("chronicle-service", at)) == 1


async def test_a_broker_that_is_away_gets_the_events_of_a_repeat(dsm: Dsm) -> None:
    await dsm.project()
    await dsm.backlog()
    dsm.cluster.down.add("broker-ingress")
    body = {"sprint_name": "s", "duration_weeks": 2}
    await dsm.post("sprint-service", "/sprints/GEM-001", body, key="k")
    assert dsm.cluster.sink.messages == []
    dsm.cluster.down.clear()

    await dsm.post("sprint-service", "/sprints/GEM-001", body, key="k")

    assert len(dsm.cluster.sink.messages) == 11


async def test_there_is_one_daily_report_for_a_sprint_and_day(dsm: Dsm) -> None:
    first = await dsm.post("chronicle-service", REPORT, report(), key="k1")
    same_key = await dsm.post("chronicle-service", REPORT, report(summary="later"), key="k1")
    same_words = await dsm.post("chronicle-service", REPORT, report(), key="k2")

    assert first == same_key == same_words
    other = report(summary="other")
    words = await dsm.refused(409, "POST", "chronicle-service", REPORT, json=other)
    assert first["note_id"] in words
    assert len(await dsm.get("chronicle-service", f"{REPORT}/notes")) == 1


async def test_reports_at_once_are_one_note(dsm: Dsm) -> None:
    answers = await asyncio.gather(
        *(dsm.post("chronicle-service", REPORT, report(), key=f"k{n}") for n in range(4))
    )
    assert len({answer["note_id"] for answer in answers}) == 1


async def test_reading_a_report_merges_a_days_tasks_per_employee(dsm: Dsm) -> None:
    tasks = [{"id": f"T{n}", "created_at": f"2026-03-02T14:00:0{n}Z"} for n in range(3)]
    entries = [
        {"assigned_to": "E1", "tasks": tasks[:1]},
        {"assigned_to": "E1", "tasks": tasks[1:2]},
        {"tasks": tasks[2:]},
    ]
    await dsm.post(
        "chronicle-service", REPORT, report(reports={"2026-03-02": entries}, summary=None)
    )

    query = {"sprint_id": "GEM-001-S01", "daily_scrum_date": "2026-03-02"}
    found = await dsm.get("chronicle-service", REPORT, **query)

    assert found["reports"] == {
        "2026-03-02": [
            {"employee_id": "E1", "tasks": tasks[:2]},
            {"employee_id": "unassigned", "tasks": tasks[2:]},
        ]
    }
    assert found["summary"] == "No Holiday or PTO reported for this daily stand-up"
    assert found["summary_metrics"]["total_tasks"] == 2
    assert (found["project_id"], found["sprint_id"]) == ("GEM-001", "GEM-001-S01")


async def test_a_burndown_has_a_day_for_each_report(dsm: Dsm) -> None:
    for day in ("2026-03-03", "2026-03-02"):
        await dsm.post("chronicle-service", REPORT, report(day))
    at = "/v1/analytics/sprint/GEM-001-S01/burndown"
    found = await dsm.get("chronicle-service", at)
    assert [(d["date"], d["remaining"]) for d in found["days"]] == [
        ("2026-03-02", 0.6),
        ("2026-03-03", 0.6),
    ]


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


@pytest.mark.parametrize("project", ["INTEL-AUDIT-PROJ", "x" * 200, "Ünï_code id"])
async def test_ids_of_any_length_and_letters_go_through_a_cycle(dsm: Dsm, project: str) -> None:
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
