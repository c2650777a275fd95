"""What a service of the version before was at under a raw key goes on under the key's digest."""

from __future__ import annotations

from typing import Any

from functions.dsm.daily_scrum_service.main import daily_scrum_service, simulate
from functions.dsm.project_orchestrator import wake
from functions.dsm.project_orchestrator.main import project_orchestrator
from functions.dsm.project_orchestrator.orchestration import Options, orchestrate
from functions.kit.clients.service import header_key
from functions.kit.context import Context
from tests.dsm.conftest import Dsm

KEY = "cycle:GEM-001:first"


def process(dsm: Dsm, databases: dict[str, str], target: Any) -> Context:
    """A further process of a service, whose code is called as that of before was: by the raw key.

    It has died before the answer was recorded.
    """
    name = target.__dict__["api"].name
    service = name.replace("_", "-")
    serving, environ = dsm.cluster.apps[service], {"DATABASE_URL": databases[name]}
    further = dsm.cluster.deploy(target, environ)
    dsm.cluster.add(service, serving)
    return further


async def test_a_working_day_is_not_drawn_anew(dsm: Dsm, dsm_databases: dict[str, str]) -> None:
    sprint = await dsm.sprint(max_tasks_per_sprint=3)
    previous = process(dsm, dsm_databases, daily_scrum_service)
    made = await simulate(previous, sprint, KEY)
    tasks = await dsm.get("sprint-service", f"/sprints/{sprint}/tasks")
    for key in (header_key(KEY), KEY):
        again = await dsm.post("daily-scrum-service", f"/scrums/{sprint}/run", key=key)
        assert again["updates"] == made["updates"]
    assert await dsm.get("sprint-service", f"/sprints/{sprint}/tasks") == tasks


async def test_a_decision_is_not_made_anew(dsm: Dsm, dsm_databases: dict[str, str]) -> None:
    project = await dsm.project()
    await dsm.backlog(project)
    previous = process(dsm, dsm_databases, project_orchestrator)
    previous.part(wake.Calls)
    options = Options(max_tasks_per_sprint=3)
    made = await orchestrate(previous, project, options, KEY)
    again = await dsm.orchestrate(project, key=header_key(KEY), max_tasks_per_sprint=3)
    assert made["decisions"]["rule_based_decision"] == "create"
    assert again["decisions"]["rule_based_decision"] == "create"
    assert again["sprint_id"] == made["sprint_id"]
    assert len(await dsm.get("sprint-service", f"/sprints/by-project/{project}")) == 1
