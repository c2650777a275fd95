"""Against services that know no Idempotency-Key, a day is simulated and reported once all the same.

What is in doubt is looked at before it is done again.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime

import pytest

from functions.events.schedule import ScheduleDue
from functions.events.scrum import ScrumReported, ScrumRequested, SprintSimulated
from functions.kit.contract import envelope
from functions.scrum_report.main import scrum_report
from functions.scrum_simulate.main import scrum_simulate
from tests.function.sprints.test_scrum_simulate import event_of
from tests.support.cluster import Cluster, message_of
from tests.support.dsm_services import Flaky
from tests.support.originals import Originals

DUE = datetime(2025, 8, 29, 14, 0, tzinfo=UTC)
TICK = ScheduleDue(schedule="scrum-simulate", time=DUE)
NOW = ScrumRequested(scrum_date=date(2025, 8, 29))


@pytest.fixture
def originals(cluster: Cluster, functions_database: str) -> Originals:
    originals = Originals()
    originals.join(cluster)
    environ = {"DATABASE_URL": functions_database}
    cluster.deploy(scrum_simulate, environ)
    cluster.deploy(scrum_report, environ)
    return originals


def progress(originals: Originals) -> dict[str, list[int]]:
    return {sprint.id: list(sprint.tasks.values()) for sprint in originals.sprints}


async def test_asking_again_on_the_same_day_moves_nothing_again(
    cluster: Cluster, originals: Originals
) -> None:
    originals.sprint("GEM-001", 1, 0, 50)
    first = event_of(await cluster.ask("scrum-simulate", TICK))
    assert (await cluster.tell("scrum-simulate", TICK)).status_code == 202
    for again in (message_of(NOW), message_of(NOW)):
        assert event_of(await cluster.ask("scrum-simulate", again)) == first
    assert progress(originals) == {"GEM-001-S01": [20, 70]}


async def test_two_who_ask_at_once_move_each_task_once(
    cluster: Cluster, originals: Originals
) -> None:
    originals.sprint("GEM-001", 1, 0)
    originals.sprint("TEST-001", 1, 0)
    asked = [NOW, TICK, ScrumRequested(sprint_id="GEM-001-S01", scrum_date=DUE.date())]
    await asyncio.gather(*(cluster.tell("scrum-simulate", one) for one in asked))
    assert progress(originals) == {"GEM-001-S01": [20], "TEST-001-S01": [20]}


async def test_a_sprint_that_moved_and_answered_500_is_not_moved_again(
    cluster: Cluster, originals: Originals
) -> None:
    for project in ("GEM-001", "TEST-001", "ZEP010"):
        originals.sprint(project, 1, 0, 100)
    originals.broken["POST /scrums/TEST-001-S01/run"] = 1

    assert (await cluster.tell("scrum-simulate", TICK)).status_code == 503
    assert {e.sprint_id for e in cluster.sink.of(SprintSimulated)} == {"GEM-001-S01", "ZEP010-S01"}
    assert (await cluster.tell("scrum-simulate", TICK)).status_code == 202

    assert progress(originals) == {
        "GEM-001-S01": [20, 100],
        "TEST-001-S01": [20, 100],
        "ZEP010-S01": [20, 100],
    }
    (late,) = [e for e in cluster.sink.of(SprintSimulated) if e.sprint_id == "TEST-001-S01"]
    assert [(task.progress_made, task.progress) for task in late.moved] == [(20, 20)]


@pytest.mark.parametrize("lose_answer", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("cut", range(1, 8))
async def test_a_day_cut_off_at_any_call_moves_each_task_once(
    cut: int, lose_answer: bool, cluster: Cluster, originals: Originals
) -> None:
    originals.sprint("GEM-001", 1, 0)
    originals.sprint("TEST-001", 1, 0)
    Flaky(cluster, ["sprint-service", "daily-scrum-service"], cut, lose_answer)
    answers = [(await cluster.tell("scrum-simulate", TICK)).status_code for _ in range(3)]
    assert answers[-1] == 202
    assert progress(originals) == {"GEM-001-S01": [20], "TEST-001-S01": [20]}


@pytest.mark.parametrize("lose_answer", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("cut", range(1, 5))
async def test_a_report_cut_off_at_any_call_is_filed_once(
    cut: int, lose_answer: bool, cluster: Cluster, originals: Originals
) -> None:
    originals.sprint("GEM-001", 1, 0)
    simulated = event_of(await cluster.ask("scrum-simulate", TICK))
    Flaky(cluster, ["sprint-service", "project-service", "chronicle-service"], cut, lose_answer)
    answers = [(await cluster.tell("scrum-report", simulated)).status_code for _ in range(3)]
    assert answers == [503, 202, 202]
    assert [note["report_date"] for note in originals.notes] == ["2025-08-29"]


async def test_a_chronicle_that_is_away_is_not_taken_for_one_that_has_the_report(
    cluster: Cluster, originals: Originals
) -> None:
    originals.sprint("GEM-001", 1, 0)
    simulated = event_of(await cluster.ask("scrum-simulate", TICK))
    cluster.down.add("chronicle-service")
    for _ in range(2):
        assert (await cluster.tell("scrum-report", simulated)).status_code == 503
    cluster.down.clear()
    assert (await cluster.tell("scrum-report", simulated)).status_code == 202
    assert len(originals.notes) == 1


async def test_the_route_that_reports_by_itself_leaves_one_note(
    cluster: Cluster, functions_database: str
) -> None:
    originals = Originals()
    originals.join(cluster)
    environ = {"DATABASE_URL": functions_database, "DAILY_SCRUM_ROUTE": "run-daily-scrum"}
    cluster.deploy(scrum_simulate, environ)
    cluster.deploy(scrum_report, environ)
    originals.sprint("GEM-001", 1, 0, 90)

    simulated = event_of(await cluster.ask("scrum-simulate", TICK))
    assert [(t.progress_made, t.progress) for t in simulated.moved] == [(20, 20), (10, 100)]
    assert originals.writes == ["POST /sprints/GEM-001-S01/run-daily-scrum"]
    reply = await cluster.ask("scrum-report", simulated)
    received = envelope.open_(reply, (ScrumReported,))
    assert isinstance(received, ScrumReported)
    assert (received.moved_tasks, received.completed_tasks) == (2, 1)
    assert len(originals.notes) == 1
