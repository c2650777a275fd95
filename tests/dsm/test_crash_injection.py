"""Whatever dies at whatever call, the repeat of the same key leaves what one whole run leaves.

What was committed needs no repeat: the calls and events that a dead process held leave when its
lease on them ends.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
import pytest

from functions.dsm.sprint_service.main import sprint_service
from functions.dsm.sprint_service.outgoing import relay
from functions.events.schedule import ScheduleDue
from functions.kit.context import Context
from functions.kit.durable import outbox
from tests.dsm.conftest import Dsm
from tests.support import eventually
from tests.support.crashing_cluster import Killed, Moment, Victim

Act = Callable[[str, str], Awaitable[Any]]  # (project, key) -> answer
Prepare = Callable[[str], Awaitable[None]]

MAX_CALLS = 80
# Of a note: ids and instants.
DIFFERS = (
    *("id", "retrospective_id", "audit_id", "correlation_id"),
    *("created_at", "timestamp", "additional_data"),
)

deaths = pytest.mark.parametrize(
    ("moment", "victim"),
    [("before", "everything"), ("after", "everything"), ("before", "caller"), ("after", "caller")],
    ids=lambda value: str(value),
)


@pytest.fixture
def other(dsm: Dsm, dsm_databases: dict[str, str]) -> Context:
    """A process of sprint-service that no request comes to, and that does not die."""
    asked = dsm.cluster.apps["sprint-service"]
    url = dsm_databases["sprint_service"]
    process = dsm.cluster.deploy(sprint_service, {"DATABASE_URL": url})
    dsm.cluster.add("sprint-service", asked)
    return process


async def leases_end(other: Context) -> None:
    """Have another process send what a dead one has left, and return once nothing waits."""

    async def all_left() -> bool:
        async with other.store.connection() as connection:
            await connection.execute("UPDATE outbox_event SET leased_until = now()")
        await relay(other).sweep()
        await relay(other).idle()
        return (await outbox.unsent(other.store)).count == 0

    assert await eventually(all_left)


async def state(dsm: Dsm, project: str) -> dict[str, Any]:
    """All that the services say about a project, without ids and times that differ by nature."""
    sprints = await dsm.get("sprint-service", f"/sprints/by-project/{project}")
    # An event may be sent twice; it is one to who gets it, as it has the same id.
    of_project = {
        (m.source, m.id): (m.type, str(m.subject))
        for m in dsm.cluster.sink.messages
        if project in str(m.subject)
    }
    sent: dict[str, Any] = {
        "sprints": sprints,
        "tasks": [
            await dsm.get("sprint-service", f"/sprints/{sprint['sprint_id']}/tasks")
            for sprint in sprints
        ],
        "backlog": await dsm.get("backlog-service", f"/backlogs/{project}"),
        "schedules": sorted(n for n in await dsm.schedules() if f"-{project.lower()}-" in n),
        "events": sorted(of_project.values()),
    }
    for kind in ("sprint_planning", "sprint_retrospective", "decision_audit"):
        answer = await dsm.call(
            "GET", "chronicle-service", f"/v1/notes/{kind}", params={"project_id": project}
        )
        notes = answer.json() if answer.status_code == 200 else []
        sent[kind] = [{k: v for k, v in note.items() if k not in DIFFERS} for note in notes]
    text = json.dumps(sent).replace(project, "P").replace(project.lower(), "p")
    found: dict[str, Any] = json.loads(text)
    return found


async def survives(
    dsm: Dsm, other: Context, moment: Moment, victim: Victim, prepare: Prepare, act: Act
) -> None:
    """Kill at each call in turn, repeat, and compare with a run that nothing disturbed."""
    cluster = dsm.cluster
    await prepare("WHOLE")
    await act("WHOLE", "key-WHOLE")
    expected = await state(dsm, "WHOLE")
    for call in range(MAX_CALLS):
        project = f"K{call:02d}X"
        await prepare(project)
        cluster.doom(call, moment, victim)
        with contextlib.suppress(Killed, httpx.RemoteProtocolError):
            await act(project, f"key-{project}")
        happened = cluster.revive()
        for _ in range(1 + happened):
            await leases_end(other)
            await act(project, f"key-{project}")
        await leases_end(other)
        assert await state(dsm, project) == expected, f"after a death at call {call}"
        if not happened:
            assert call > 2, "nothing was killed"
            return
    raise AssertionError(f"more than {MAX_CALLS} calls")


@deaths
async def test_a_sprint_is_started_once(
    dsm: Dsm, other: Context, moment: Moment, victim: Victim
) -> None:
    async def prepare(project: str) -> None:
        await dsm.project(project)
        await dsm.backlog(project)

    async def act(project: str, key: str) -> Any:
        body = {"sprint_name": "one", "duration_weeks": 2, "max_tasks_per_sprint": 3}
        return await dsm.post("sprint-service", f"/sprints/{project}", body, key=key)

    await survives(dsm, other, moment, victim, prepare, act)


@deaths
async def test_a_sprint_is_closed_once(
    dsm: Dsm, other: Context, moment: Moment, victim: Victim
) -> None:
    async def prepare(project: str) -> None:
        sprint = await dsm.sprint(project, max_tasks_per_sprint=3)
        done = {"progress_percentage": 100}
        await dsm.post("sprint-service", f"/tasks/{project}-TASK002/progress", done)
        assert sprint == f"{project}-S01"

    async def act(project: str, key: str) -> Any:
        return await dsm.post("sprint-service", f"/sprints/{project}-S01/close", key=key)

    await survives(dsm, other, moment, victim, prepare, act)


@deaths
async def test_a_project_is_orchestrated_once(
    dsm: Dsm, other: Context, moment: Moment, victim: Victim
) -> None:
    async def prepare(project: str) -> None:
        await dsm.project(project)
        await dsm.backlog(project)

    async def act(project: str, key: str) -> Any:
        return await dsm.orchestrate(project, key=key, max_tasks_per_sprint=3)

    await survives(dsm, other, moment, victim, prepare, act)


@deaths
async def test_an_orchestrated_close_is_made_once(
    dsm: Dsm, other: Context, moment: Moment, victim: Victim
) -> None:
    async def prepare(project: str) -> None:
        await dsm.project(project)
        await dsm.backlog(project)
        started = await dsm.orchestrate(project, max_tasks_per_sprint=3)
        await dsm.finish(started["sprint_id"])

    async def act(project: str, key: str) -> Any:
        return await dsm.orchestrate(project, key=key)

    await survives(dsm, other, moment, victim, prepare, act)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_decision_is_carried_out_and_noted_without_a_repeat(
    dsm: Dsm, other: Context, moment: Moment, dsm_databases: dict[str, str]
) -> None:
    async def prepare(project: str) -> None:
        await dsm.project(project)
        await dsm.backlog(project)

    async def tick() -> None:
        connection = await asyncpg.connect(dsm_databases["project_orchestrator"])
        await connection.execute("UPDATE outbox_event SET leased_until = now()")
        await connection.close()
        due = ScheduleDue(schedule="decision-outbox", time=datetime.now(UTC))
        assert (await dsm.cluster.tell("project-orchestrator", due)).status_code == 202
        await leases_end(other)

    await prepare("WHOLE")
    before = await state(dsm, "WHOLE")
    await dsm.orchestrate("WHOLE", max_tasks_per_sprint=3)
    expected = await state(dsm, "WHOLE")
    decided = 0
    for call in range(1, MAX_CALLS):
        project = f"K{call:02d}X"
        await prepare(project)
        dsm.cluster.doom(call, moment, "everything")
        with contextlib.suppress(Killed, httpx.RemoteProtocolError):
            await dsm.orchestrate(project, max_tasks_per_sprint=3)
        happened = dsm.cluster.revive()
        await tick()
        found = await state(dsm, project)
        assert found in (before, expected), f"after a death at call {call}"
        assert found == expected or not decided, f"after a death at call {call}"
        decided += found == expected
        if not happened:
            break
    assert decided > 2


@deaths
async def test_a_working_day_moves_each_task_once(dsm: Dsm, moment: Moment, victim: Victim) -> None:
    cluster = dsm.cluster
    happened, call = True, 0
    while happened:
        project = f"K{call:02d}X"
        sprint = await dsm.sprint(project, max_tasks_per_sprint=3)
        cluster.doom(call, moment, victim)
        with contextlib.suppress(Killed, httpx.RemoteProtocolError):
            await dsm.post("daily-scrum-service", f"/scrums/{sprint}/run", key=project)
        happened = cluster.revive()
        answer = await dsm.post("daily-scrum-service", f"/scrums/{sprint}/run", key=project)

        made = {u["task_id"]: int(u["progress_made"].rstrip("%")) for u in answer["updates"]}
        tasks = await dsm.get("sprint-service", f"/sprints/{sprint}/tasks")
        assert {t["task_id"]: t["progress_percentage"] for t in tasks} == made
        assert len(made) == 3
        assert all(5 <= percent <= 35 for percent in made.values())
        call += 1
    assert call > 3
