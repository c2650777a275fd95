"""One read tells of each project's sprint and its counts; the report asks for nothing more."""

from __future__ import annotations

from functions.events.schedule import ScheduleDue
from functions.events.sprint import SprintCompleted, SprintsReported
from functions.kit.durable import migrate
from functions.sprint_report.main import sprint_report
from tests.conftest import MakeMigrated
from tests.dsm.conftest import Dsm


async def test_each_project_has_its_active_sprint_or_else_its_latest(dsm: Dsm) -> None:
    await dsm.sprint("A-1")
    await dsm.sprint("B-1")
    await dsm.finish("B-1-S01")
    await dsm.post("sprint-service", "/sprints/B-1-S01/close")
    found = await dsm.get("sprint-service", "/sprints/overview")
    assert [
        (r["sprint_id"], r["status"], r["total_tasks"], r["completed_tasks"]) for r in found
    ] == [
        ("A-1-S01", "in_progress", 10, 0),
        ("B-1-S01", "completed", 10, 10),
    ]
    (second,) = await dsm.get("sprint-service", "/sprints/overview", limit="1", offset="1")
    assert second["project_id"] == "B-1"


async def test_a_report_of_many_projects_asks_two_questions(
    dsm: Dsm, make_migrated: MakeMigrated
) -> None:
    url = await make_migrated(*migrate.owners())
    dsm.cluster.deploy(sprint_report, {"DATABASE_URL": url})
    for project in ("A-1", "B-1", "C-1"):
        await dsm.sprint(project)
    await dsm.project("NEW-1")
    await dsm.finish("B-1-S01")
    asked = len(dsm.cluster.requests)
    tick = ScheduleDue.model_validate({"schedule": "sprint-report", "time": "2026-03-02T14:30:00Z"})

    assert (await dsm.cluster.tell("sprint-report", tick)).status_code == 202

    paths = [r.url.path for r in dsm.cluster.requests[asked:] if r.method == "GET"]
    assert sorted(paths) == ["/projects", "/sprints/overview"]
    (report,) = dsm.cluster.sink.of(SprintsReported)
    assert [(s.project_id, s.sprint_id, s.state, s.completed_tasks) for s in report.sprints] == [
        ("A-1", "A-1-S01", "active", 0),
        ("B-1", "B-1-S01", "complete", 10),
        ("C-1", "C-1-S01", "active", 0),
        ("NEW-1", None, "no-sprint", 0),
    ]
    assert [e.sprint_id for e in dsm.cluster.sink.of(SprintCompleted)] == ["B-1-S01"]
