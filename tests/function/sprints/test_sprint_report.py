"""sprint-report: each project has its row, finished sprints are reported, failures are rows."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from functions.events.schedule import ScheduleDue
from functions.events.sprint import SprintCompleted, SprintsReported
from functions.kit.clients.http import MAX_ANSWER_BYTES
from functions.sprint_report.main import sprint_report
from tests.support.cluster import Cluster
from tests.support.dsm_services import World

TICK = ScheduleDue(schedule="sprint-report", time=datetime(2025, 8, 29, 13, 30, tzinfo=UTC))
HEADER = "project_id,sprint_id,total_tasks,completed_tasks,completion_percentage\n"


@pytest.fixture
def report(cluster: Cluster, world: World, functions_database: str) -> Cluster:
    cluster.deploy(sprint_report, {"DATABASE_URL": functions_database})
    return cluster


async def csv(cluster: Cluster, path: str = "/") -> str:
    async with cluster.client("sprint-report") as client:
        response = await client.get(path, headers={"Accept": "text/csv"})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/csv")
    return response.text


async def test_a_tick_reports_all_and_tells_of_finished_sprints(
    report: Cluster, world: World
) -> None:
    world.sprint("GEM-001", 1, 100, *[0] * 9)
    world.sprint("TEST-001", 3, 100, 100)
    world.projects.append("PHE001")

    response = await report.tell("sprint-report", TICK)

    assert (response.status_code, response.content) == (202, b"")
    [received] = report.sink.of(SprintsReported)
    assert [(s.project_id, s.sprint_id, s.state) for s in received.sprints] == [
        ("GEM-001", "GEM-001-S01", "active"),
        ("PHE001", None, "no-sprint"),
        ("TEST-001", "TEST-001-S03", "complete"),
    ]
    assert received.failed == 0
    assert received.reported_at == TICK.nominal, "the morning that it is for, not when it ran"
    assert report.sink.of(SprintCompleted) == [
        SprintCompleted(project_id="TEST-001", sprint_id="TEST-001-S03", total_tasks=2)
    ]


async def test_csv_has_the_columns_and_rows_of_old(report: Cluster, world: World) -> None:
    world.sprint("GEM-001", 1, 100, *[0] * 9)
    world.projects.append("PHE001")
    world.sprint("SEN004", 1, 0)
    world.sprint("TIT007", 2, 0)
    world.answers["GET /sprints/by-project/SEN004"] = (500, "boom")
    world.answers["GET /sprints/TIT007-S02/task-summary"] = (500, "boom")

    assert await csv(report) == (
        f"{HEADER}GEM-001,GEM-001-S01,10,1,10.00\nPHE001,N/A,0,0,0.00\n"
        "SEN004,ERROR,0,0,0.00\nTIT007,TIT007-S02,ERROR,ERROR,ERROR\n"
    )
    assert report.sink.messages == []


async def test_one_project_is_reported_by_name(report: Cluster, world: World) -> None:
    world.sprint("GEM-001", 1, 100, 0, 0)
    world.sprint("TEST-001", 1, 0)

    assert await csv(report, "/?project_id=GEM-001") == f"{HEADER}GEM-001,GEM-001-S01,3,1,33.33\n"
    async with report.client("sprint-report") as client:
        posted = await client.post(
            "/", json={"project_id": "GEM-001"}, headers={"Accept": "text/csv"}
        )
    assert posted.text == f"{HEADER}GEM-001,GEM-001-S01,3,1,33.33\n"


async def test_a_project_that_fails_does_not_hide_the_others(report: Cluster, world: World) -> None:
    world.sprint("GEM-001", 1, 100)
    world.sprint("SEN004", 1, 100)
    world.answers["GET /sprints/SEN004-S01/task-summary"] = (500, {"detail": "disk full"})

    assert (await report.tell("sprint-report", TICK)).status_code == 202

    [received] = report.sink.of(SprintsReported)
    assert received.failed == 1
    assert received.sprints[1].state == "error"
    assert "disk full" in received.sprints[1].detail
    assert [c.sprint_id for c in report.sink.of(SprintCompleted)] == ["GEM-001-S01"]


async def test_a_projects_huge_answer_costs_its_own_row(report: Cluster, world: World) -> None:
    world.sprint("GEM-001", 1, 100)
    world.sprint("SEN004", 1, 100)
    world.answers["GET /sprints/by-project/SEN004"] = (200, ["x" * MAX_ANSWER_BYTES])

    assert (await report.tell("sprint-report", TICK)).status_code == 202

    [received] = report.sink.of(SprintsReported)
    assert [row.state for row in received.sprints] == ["complete", "error"]
    for part in ("sprint-service", "/sprints/by-project/SEN004", str(MAX_ANSWER_BYTES)):
        assert part in received.sprints[1].detail
    assert [c.sprint_id for c in report.sink.of(SprintCompleted)] == ["GEM-001-S01"]


@pytest.mark.parametrize("name", ["project-service", "sprint-service"])
async def test_a_list_that_is_missing_is_no_report(
    name: str, report: Cluster, world: World
) -> None:
    world.sprint("GEM-001", 1, 100)
    report.down.add(name)

    response = await report.tell("sprint-report", TICK)

    assert response.status_code == 503
    assert name in response.json()["detail"]
    assert report.sink.messages == []

    report.down.clear()
    assert (await report.tell("sprint-report", TICK)).status_code == 202


async def test_a_tick_waits_when_no_project_can_be_read(report: Cluster, world: World) -> None:
    world.sprint("GEM-001", 1, 100)
    world.answers["GET /sprints/by-project/GEM-001"] = (503, {"detail": "restarting"})
    response = await report.tell("sprint-report", TICK)
    assert response.status_code == 503
    assert "restarting" in response.json()["detail"]


async def test_a_tick_reports_what_trying_again_cannot_help(report: Cluster, world: World) -> None:
    world.sprint("GEM-001", 1, 100)
    world.answers["GET /sprints/by-project/GEM-001"] = (422, {"detail": "no such thing"})
    assert (await report.tell("sprint-report", TICK)).status_code == 202
    assert await csv(report) == f"{HEADER}GEM-001,ERROR,0,0,0.00\n"


async def test_an_unknown_project_is_refused_with_a_reason(report: Cluster, world: World) -> None:
    async with report.client("sprint-report") as client:
        for response in (
            await client.get("/?project_id=NONE"),
            await client.post("/", json={"project_id": "NONE"}),
        ):
            assert response.status_code == 422
            assert "NONE" in response.json()["detail"]


async def test_a_misspelt_query_is_refused(report: Cluster) -> None:
    async with report.client("sprint-report") as client:
        assert (await client.get("/?project=GEM-001")).status_code == 422


async def test_a_tick_delivered_twice_is_reported_once(report: Cluster, world: World) -> None:
    world.sprint("GEM-001", 1, 100)
    for _ in range(2):
        assert (await report.tell("sprint-report", TICK)).status_code == 202
        world.sprints[0].tasks["new"] = 0
    assert sorted(report.sink.types()) == [SprintCompleted.type, SprintsReported.type]


async def test_199_of_200_is_not_complete(report: Cluster, world: World) -> None:
    world.sprint("GEM-001", 1, *[100] * 199, 99)
    await report.tell("sprint-report", TICK)
    assert await csv(report) == f"{HEADER}GEM-001,GEM-001-S01,200,199,99.50\n"
    assert report.sink.of(SprintCompleted) == []


async def test_no_more_than_the_set_number_of_projects_are_asked_at_once(
    cluster: Cluster, world: World, functions_database: str
) -> None:
    cluster.deploy(sprint_report, {"DATABASE_URL": functions_database, "REPORT_CONCURRENCY": "3"})
    for number in range(20):
        world.sprint(f"P{number:02d}", 1, 0)
    inside = highest = 0
    app = cluster.apps["sprint-service"]

    async def counted(scope: object, receive: object, send: object) -> None:
        nonlocal inside, highest
        inside += 1
        highest = max(highest, inside)
        await app(scope, receive, send)  # type: ignore[arg-type]  # ASGI's types say nothing here
        inside -= 1

    cluster.add("sprint-service", counted)
    assert (await csv(cluster)).count("\n") == 21
    assert highest <= 3


HOSTILE = (
    {"id": None},
    {"id": ""},
    {"id": "x" * 300},
    7,
    {"name": "no id"},
)


async def test_a_project_that_cannot_be_read_is_a_row_and_costs_no_other(
    report: Cluster, world: World
) -> None:
    world.sprint("GEM-001", 1, 100)
    world.answers["GET /projects"] = (200, [{"id": "GEM-001"}, *HOSTILE])
    sprint = world.sprints[0].as_json()
    world.answers["GET /sprints/list_projects"] = (
        200,
        [
            {"project_id": "GEM-001", "sprints": [sprint | {"status": None}, sprint]},
            {"project_id": "BAD-001", "sprints": "many"},
            {"project_id": None},
        ],
    )
    response = await report.tell("sprint-report", TICK)

    assert response.status_code == 202, response.text
    [received] = report.sink.of(SprintsReported)
    rows = [(s.project_id[:9], s.state) for s in received.sprints]
    assert rows[0] == ("GEM-001", "complete")
    assert ("BAD-001", "error") in rows
    assert {state for _, state in rows[1:]} == {"error"}
    assert [e.sprint_id for e in report.sink.of(SprintCompleted)] == ["GEM-001-S01"]


@pytest.mark.parametrize(
    "counts",
    [
        {"total_tasks": 1, "completed_tasks": 250, "pending_tasks": 0},
        {"total_tasks": -1},
        {"total_tasks": 10**400},
        None,
    ],
    ids=["more-done-than-there-are", "negative", "huge", "null"],
)
async def test_counts_that_cannot_be_are_a_row_too(
    counts: object, report: Cluster, world: World
) -> None:
    world.sprint("GEM-001", 1, 100)
    world.sprint("ODD-001", 1, 100)
    world.answers["GET /sprints/ODD-001-S01/task-summary"] = (200, counts)
    assert (await report.tell("sprint-report", TICK)).status_code == 202
    [received] = report.sink.of(SprintsReported)
    assert [(s.project_id, s.state) for s in received.sprints] == [
        ("GEM-001", "complete"),
        ("ODD-001", "error"),
    ]
