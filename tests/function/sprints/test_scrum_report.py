"""scrum-report: one note for each sprint and day, however often its event comes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from functions.events.scrum import ScrumReported, SprintSimulated, TaskMoved
from functions.kit.clients.service import header_key
from functions.kit.contract import envelope
from functions.scrum_report.main import scrum_report
from tests.support.cluster import Cluster, message_of
from tests.support.dsm_services import MOVED_AT, Flaky, World

SIMULATED_AT = datetime(2025, 8, 29, 14, 0, 1, tzinfo=UTC)
SIMULATED = SprintSimulated(
    project_id="GEM-001",
    sprint_id="GEM-001-S01",
    scrum_date=date(2025, 8, 29),
    simulated_at=SIMULATED_AT,
    moved=[
        TaskMoved(task_id="GEM-001-S01-T1", progress_made=5, progress=25, moved_at=MOVED_AT),
        TaskMoved(task_id="GEM-001-S01-T2", progress_made=30, progress=100, moved_at=MOVED_AT),
    ],
)


@pytest.fixture
def report(cluster: Cluster, world: World, functions_database: str) -> Cluster:
    cluster.deploy(scrum_report, {"DATABASE_URL": functions_database})
    world.sprint("GEM-001", 1, 25, 100, 0)
    return cluster


async def test_the_days_note_holds_every_task(report: Cluster, world: World) -> None:
    message = await report.ask("scrum-report", SIMULATED)

    assert envelope.open_(message, (ScrumReported,)) == ScrumReported(
        project_id="GEM-001",
        sprint_id="GEM-001-S01",
        scrum_date=date(2025, 8, 29),
        note_id="note-1",
        total_tasks=3,
        completed_tasks=1,
        moved_tasks=2,
    )
    emitted = {"impediments": "None reported."}
    assert world.notes == [
        {
            "project_id": "GEM-001",
            "sprint_id": "GEM-001-S01",
            "report_date": "2025-08-29",
            "summary": "Daily stand-up for sprint GEM-001-S01. 2 tasks had progress simulated.",
            "summary_metrics": {
                "total_team_members": 2,
                "total_tasks": 3,
                "completed_tasks": 1,
                "pending_tasks": 2,
            },
            "reports": {
                "2025-08-29": [
                    {
                        "assigned_to": "E001",
                        "tasks": [
                            {
                                "id": "GEM-001-S01-T2",
                                "yesterday_work": "Completed task: 'Title of GEM-001-S01-T2'.",
                                "today_work": "No further work on this task.",
                                "created_at": MOVED_AT.isoformat(),
                                **emitted,
                                "progress_percentage": 100,
                            }
                        ],
                    },
                    {
                        "assigned_to": "E002",
                        "tasks": [
                            {
                                "id": "GEM-001-S01-T1",
                                "yesterday_work": "Worked on task: 'Title of GEM-001-S01-T1', "
                                "currently 25% complete.",
                                "today_work": "Continuing work on task: 'Title of GEM-001-S01-T1'.",
                                "created_at": MOVED_AT.isoformat(),
                                **emitted,
                                "progress_percentage": 25,
                            },
                            {
                                "id": "GEM-001-S01-T3",
                                "yesterday_work": "No progress on task: 'Title of GEM-001-S01-T3'.",
                                "today_work": "Starting work on task: 'Title of GEM-001-S01-T3'.",
                                "created_at": SIMULATED_AT.isoformat(),
                                **emitted,
                                "progress_percentage": 0,
                            },
                        ],
                    },
                ]
            },
        }
    ]
    [(name, _)] = world.requests
    key = header_key("daily:GEM-001-S01:2025-08-29")
    assert name == f"POST /v1/notes/daily_scrum_report#{key}"


async def test_the_fact_under_another_id_files_no_second_note(
    report: Cluster, world: World
) -> None:
    for _ in range(3):
        assert (await report.tell("scrum-report", SIMULATED)).status_code == 202
    assert len(world.notes) == 1
    assert report.sink.types() == [ScrumReported.type]


async def test_two_at_once_file_one_note(report: Cluster, world: World) -> None:
    message = message_of(SIMULATED)
    responses = await asyncio.gather(*(report.tell("scrum-report", message) for _ in range(3)))
    assert [response.status_code for response in responses] == [202, 202, 202]
    assert len(world.notes) == 1


async def test_the_next_day_has_its_own_note(report: Cluster, world: World) -> None:
    await report.tell("scrum-report", SIMULATED)
    await report.tell(
        "scrum-report", SIMULATED.model_copy(update={"scrum_date": date(2025, 8, 30)})
    )
    assert [note["report_date"] for note in world.notes] == ["2025-08-29", "2025-08-30"]


@pytest.mark.parametrize("name", ["sprint-service", "project-service", "chronicle-service"])
async def test_a_service_that_is_down_is_waited_for(
    name: str, report: Cluster, world: World
) -> None:
    report.down.add(name)
    response = await report.tell("scrum-report", SIMULATED)
    assert response.status_code == 503
    assert name in response.json()["detail"]
    report.down.clear()
    assert (await report.tell("scrum-report", SIMULATED)).status_code == 202
    assert len(world.notes) == 1


@pytest.mark.parametrize("lose_answer", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("cut", [1, 2, 3, 4])
async def test_a_report_cut_off_at_any_call_is_filed_once(
    cut: int, lose_answer: bool, report: Cluster, world: World
) -> None:
    Flaky(report, ["sprint-service", "project-service", "chronicle-service"], cut, lose_answer)
    assert (await report.tell("scrum-report", SIMULATED)).status_code == 503

    # The world goes on meanwhile; the report is still about that day.
    world.sprints[0].tasks["GEM-001-S01-T1"] = 60
    assert (await report.tell("scrum-report", SIMULATED)).status_code == 202
    [note] = world.notes
    assert "currently 25% complete" in str(note)


async def test_what_the_chronicle_refuses_goes_to_the_dead_letter(
    report: Cluster, world: World
) -> None:
    world.answers["POST /v1/notes/daily_scrum_report"] = (422, {"detail": "reports: missing"})
    response = await report.tell("scrum-report", SIMULATED)
    assert response.status_code == 422
    assert "reports: missing" in response.json()["detail"]


async def test_a_team_that_is_refused_counts_as_empty(report: Cluster, world: World) -> None:
    world.answers["GET /projects/GEM-001/team-members"] = (404, {"detail": "no such project"})
    assert (await report.tell("scrum-report", SIMULATED)).status_code == 202
    [note] = world.notes
    assert note["summary_metrics"]["total_team_members"] == 0


async def test_a_sprint_without_tasks_has_no_note(report: Cluster, world: World) -> None:
    world.sprints[0].tasks.clear()
    for _ in range(2):
        assert (await report.tell("scrum-report", SIMULATED)).status_code == 202
    assert world.notes == []


async def test_nothing_else_starts_a_report(report: Cluster, world: World) -> None:
    other = replace(message_of(SIMULATED), type="io.dsm.scrum.requested.v1")
    assert (await report.tell("scrum-report", other)).status_code == 400
    assert world.notes == []
