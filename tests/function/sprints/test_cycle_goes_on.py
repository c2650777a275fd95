"""A cycle that was begun is finished: by a retry, by the sweep, by the next morning's report."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from functions.cycle_trigger.main import cycle_trigger
from functions.events.cycle import CycleCompleted, CycleRequested
from functions.events.schedule import ScheduleDue
from functions.events.sprint import SprintCompleted, SprintsReported
from functions.sprint_report.main import sprint_report
from tests.function.sprints.test_cycle_trigger import FOUR, completed
from tests.support.cluster import Cluster, message_of
from tests.support.dsm_services import Flaky
from tests.support.originals import Originals

DONE = SprintCompleted(project_id="GEM-001", sprint_id="GEM-001-S01", total_tasks=2)
SERVICES = ["project-orchestrator", "backlog-service", "sprint-service"]


def swept(hour: int = 9) -> ScheduleDue:
    return ScheduleDue(schedule="cycle-sweep", time=datetime(2025, 8, 29, hour, 10, tzinfo=UTC))


def morning(day: int) -> ScheduleDue:
    return ScheduleDue(schedule="sprint-report", time=datetime(2025, 9, day, 13, 30, tzinfo=UTC))


@pytest.fixture
def originals(cluster: Cluster, functions_database: str) -> Originals:
    originals = Originals()
    originals.join(cluster)
    environ = {"DATABASE_URL": functions_database}
    cluster.deploy(cycle_trigger, environ)
    cluster.deploy(sprint_report, environ)
    originals.sprint("GEM-001", 1, 100, 100)
    return originals


async def unfinished(cluster: Cluster) -> list[dict[str, Any]]:
    async with cluster.client("cycle-trigger") as client:
        answer = await client.get("/cycles")
    found: list[dict[str, Any]] = answer.json()["cycles"]
    return found


async def an_hour_passes(database: str) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute("UPDATE cycle SET updated_at = updated_at - interval '1 hour'")
    await connection.close()


@pytest.mark.parametrize("lose_answer", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("cut", range(1, 8))
async def test_a_cycle_cut_off_at_any_call_does_each_step_once(
    cut: int, lose_answer: bool, cluster: Cluster, originals: Originals
) -> None:
    Flaky(cluster, SERVICES, cut, lose_answer)
    message = message_of(DONE)
    for _ in range(3):
        if (await cluster.tell("cycle-trigger", message)).status_code == 202:
            break
    assert [received.new_sprint_id for received in cluster.sink.of(CycleCompleted)] == [
        "GEM-001-S02"
    ]
    assert [(s.id, len(s.tasks)) for s in originals.sprints] == [
        ("GEM-001-S02", 10),
        ("GEM-001-S01", 2),
    ]
    assert originals.writes.count("POST /backlogs/GEM-001") == 1
    assert await unfinished(cluster) == []


async def test_what_an_orchestrator_did_before_it_answered_500_is_not_asked_for_again(
    cluster: Cluster, originals: Originals
) -> None:
    originals.broken["POST /orchestrate/project/GEM-001"] = 2
    answers = [(await cluster.tell("cycle-trigger", DONE)).status_code for _ in range(3)]
    assert answers == [503, 503, 202]
    assert originals.writes == FOUR


@pytest.mark.parametrize("lose_answer", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("cut", range(1, 6))
async def test_the_sweep_finishes_a_cycle_that_is_not_delivered_again(
    cut: int,
    lose_answer: bool,
    cluster: Cluster,
    originals: Originals,
    functions_database: str,
) -> None:
    Flaky(cluster, SERVICES, cut, lose_answer)
    await cluster.tell("cycle-trigger", DONE)
    await an_hour_passes(functions_database)

    received = await completed(cluster, swept())

    assert received.new_sprint_id == "GEM-001-S02"
    assert await unfinished(cluster) == []


LOSES_ENDS = """
    CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'lost'; END $$;
    CREATE TRIGGER lose BEFORE UPDATE ON cycle FOR EACH ROW
        WHEN (NEW.state = 'completed') EXECUTE FUNCTION lose()"""


async def test_an_end_that_was_not_written_is_sent_once_by_the_sweep(
    originals: Originals, cluster: Cluster, functions_database: str
) -> None:
    connection = await asyncpg.connect(functions_database)
    await connection.execute(LOSES_ENDS)
    try:
        assert (await cluster.tell("cycle-trigger", DONE)).status_code >= 500
    finally:
        await connection.execute("DROP FUNCTION lose CASCADE")
        await connection.close()
    assert cluster.sink.of(CycleCompleted) == []
    await an_hour_passes(functions_database)
    for hour in (9, 10):
        assert (await cluster.tell("cycle-trigger", swept(hour))).status_code == 202
    [fact] = cluster.sink.of(CycleCompleted)
    assert fact.project_id == "GEM-001"
    assert await unfinished(cluster) == []


async def test_half_a_cycle_is_shown_with_the_step_that_it_did_not_come_past(
    cluster: Cluster, originals: Originals
) -> None:
    cluster.down.add("backlog-service")
    assert (await cluster.tell("cycle-trigger", DONE)).status_code == 503
    (row,) = await unfinished(cluster)
    assert (row["project_id"], row["sprint_id"], row["state"], row["step"]) == (
        *("GEM-001", "GEM-001-S01", "open"),
        "generate-backlog",
    )
    assert "backlog-service: connection refused" in row["detail"]


async def test_the_sweep_leaves_alone_what_is_fresh_and_what_failed_for_good(
    cluster: Cluster, originals: Originals, functions_database: str
) -> None:
    cluster.down.add("backlog-service")
    await cluster.tell("cycle-trigger", DONE)
    cluster.down.clear()
    assert (await cluster.tell("cycle-trigger", swept(9))).status_code == 202
    assert len(await unfinished(cluster)) == 1, "a delivery may still be at work on it"

    originals.answers["POST /backlogs/GEM-001"] = (201, {"message": "none", "tasks_count": 0})
    await an_hour_passes(functions_database)
    assert (await cluster.tell("cycle-trigger", swept(10))).status_code == 202
    (row,) = await unfinished(cluster)
    assert (row["state"], row["step"]) == ("failed", "generate-backlog")
    await an_hour_passes(functions_database)
    assert (await cluster.tell("cycle-trigger", swept(11))).status_code == 202
    assert originals.writes.count("POST /backlogs/GEM-001") == 1


async def test_one_cycle_that_fails_in_a_sweep_costs_no_other(
    cluster: Cluster, originals: Originals, functions_database: str
) -> None:
    originals.sprint("BAD-001", 1, 100)
    bad = SprintCompleted(project_id="BAD-001", sprint_id="BAD-001-S01", total_tasks=1)
    cluster.down.add("backlog-service")
    for event in (bad, DONE):
        await cluster.tell("cycle-trigger", event)
    cluster.down.clear()
    originals.answers["POST /backlogs/BAD-001"] = (500, "boom")
    await an_hour_passes(functions_database)
    received = await completed(cluster, swept())
    assert received.project_id == "GEM-001"
    assert [row["project_id"] for row in await unfinished(cluster)] == ["BAD-001"]


async def test_a_sprint_that_was_closed_and_has_no_successor_is_reported_again(
    cluster: Cluster, originals: Originals
) -> None:
    """Broker and processes died right after the closing: only the report knows of it."""
    await cluster.tell("sprint-report", morning(1))
    originals.sprints[0].status = "completed"
    originals.sprint("OLD-001", 7, 100).status = "completed"

    assert (await cluster.tell("sprint-report", morning(2))).status_code == 202

    received = cluster.sink.of(SprintCompleted)
    assert received == [DONE, DONE]
    rows = {s.project_id: s for s in cluster.sink.of(SprintsReported)[-1].sprints}
    assert rows["GEM-001"].detail == "GEM-001-S01 is completed and has no successor"
    assert rows["OLD-001"].state == "no-sprint"

    assert (await completed(cluster, received[-1])).new_sprint_id == "GEM-001-S02"
    await cluster.tell("sprint-report", morning(3))
    assert cluster.sink.of(SprintCompleted) == [DONE, DONE]


async def test_cycles_are_run_one_at_a_time_unless_set_otherwise(
    cluster: Cluster, originals: Originals
) -> None:
    at_work, highest = 0, 0
    inner = cluster.apps["project-orchestrator"]

    async def counted(scope: Any, receive: Any, send: Any) -> None:
        nonlocal at_work, highest
        at_work += 1
        highest = max(highest, at_work)
        for _ in range(20):
            await asyncio.sleep(0)
        await inner(scope, receive, send)
        at_work -= 1

    cluster.add("project-orchestrator", counted)
    projects = ["GEM-001", "P-2", "P-3"]
    for project in projects[1:]:
        originals.sprint(project, 1, 100)
    answers = await asyncio.gather(
        *(cluster.tell("cycle-trigger", CycleRequested(project_id=p)) for p in projects)
    )
    assert [answer.status_code for answer in answers] == [202] * 3
    assert highest == 1


async def test_without_schedules_an_orchestrator_is_given_no_chance_to_make_one(
    cluster: Cluster, functions_database: str
) -> None:
    originals = Originals()
    originals.join(cluster)
    environ = {"DATABASE_URL": functions_database, "CREATE_CRONJOB": "false"}
    cluster.deploy(cycle_trigger, environ)
    originals.sprint("GEM-001", 1, 100)
    received = await completed(cluster, CycleRequested(project_id="GEM-001"))
    assert isinstance(received, CycleCompleted)
    assert received.new_sprint_id == "GEM-001-S02"
    assert originals.cronjobs == set()
    assert originals.writes == FOUR[:3]
