"""A morning with one project whose every field is hostile, as the local Knative runs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support import eventually
from tests.support.local_knative import LocalKnative
from tests.support.warm_data import OVERLAY, WarmData
from tests.support.watched import misdeeds, watching

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# Many alphabets, quotes, markup, a path, a format, right to left, and as long as may be.
PROJECT = ("Ü漢🎉ع '\"<b>{{x}}%00\u202e--;$(id)" + "ÿ" * 200)[:200]
TEXT = "<script>alert(1)</script>\n\t\r'; DROP TABLE tasks; -- \u202e\u2028ÿ🎉{{7*7}}=cmd|'!A0"


class Morning:
    """A local Knative with the sample data, and the hostile project beside it."""

    def __init__(self, runtime: LocalKnative) -> None:
        self.runtime = runtime

    async def call(self, method: str, service: str, at: str, body: Any = None) -> Any:
        async with self.runtime.client(service) as client:
            response = await client.request(method, at, json=body)
        assert response.is_success, response.text
        return response.json()

    async def prepare(self) -> str:
        """The hostile project's sprint."""
        await self.call("POST", "project-orchestrator", "/sample-data")
        project = {"id": PROJECT, "name": TEXT, "description": TEXT, "status": TEXT[:24]}
        await self.call("POST", "project-service", "/projects", project)
        person = {"id": PROJECT[::-1], "name": TEXT, "gender": TEXT, "state": TEXT}
        await self.call("POST", "project-service", "/employees", person)
        at = quote(PROJECT, safe="")
        team = {"employee_ids": [person["id"]]}
        await self.call("POST", "project-service", f"/projects/{at}/team-members-assign", team)
        task = {"project_id": PROJECT, "title": TEXT, "description": TEXT, "task_id": PROJECT}
        await self.call("POST", "backlog-service", "/tasks", task)
        sprint = {"sprint_name": TEXT, "duration_weeks": 2}
        made = await self.call("POST", "sprint-service", f"/sprints/{at}", sprint)
        return str(made["sprint_id"])

    async def events(self, kind: str) -> list[Any]:
        found = await self.runtime.ask("events", type=kind, limit=1000)
        return [event["data"] for event in found]

    async def fired(self, schedule: str) -> None:
        assert await self.runtime.fire(schedule) == 202
        await eventually(self.runtime.settled, timeout_s=180, every_s=0.1)


@pytest.fixture
async def morning(tmp_path: Path, warm_data: WarmData) -> AsyncIterator[Morning]:
    data = await asyncio.to_thread(warm_data.copy_to, tmp_path / "data", watch=True)
    runtime = watching(OVERLAY, data)
    await asyncio.to_thread(runtime.start)
    yield Morning(runtime)
    await asyncio.to_thread(runtime.stop)


async def test_a_hostile_project_has_its_day_and_its_cycle_like_all_others(
    morning: Morning,
) -> None:
    hostile = await morning.prepare()
    await morning.fired("sprint-report")
    await morning.fired("scrum-simulate")

    (report,) = await morning.events("io.dsm.sprints.reported.v1")
    states = {row["project_id"]: row["state"] for row in report["sprints"]}
    assert report["failed"] == 0
    assert (states[PROJECT], states["PHE001"], states["ORI002"]) == ("active", "complete", "active")
    everyone = {hostile, "ORI002-S01", "PHE001-S02"}
    for kind in ("io.dsm.sprint.simulated.v1", "io.dsm.scrum.reported.v1"):
        assert {event["sprint_id"] for event in await morning.events(kind)} == everyone

    done = {"moves": [{"task_id": PROJECT, "progress_made": 100}]}
    at = f"/sprints/{quote(hostile, safe='')}/progress"
    await morning.call("POST", "sprint-service", at, done)
    await morning.call("POST", "sprint-report", "/", {})
    await eventually(morning.runtime.settled, timeout_s=180, every_s=0.1)

    cycles = await morning.events("io.dsm.cycle.completed.v1")
    closed = {cycle["closed_sprint_id"]: cycle["new_sprint_id"] for cycle in cycles}
    assert closed == {"PHE001-S01": "PHE001-S02", hostile: f"{PROJECT}-S02"}
    assert await morning.runtime.ask("dead-letters") == []
    assert misdeeds(morning.runtime) == []
