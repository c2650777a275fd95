"""A morning with one project whose every field is hostile, as the local Knative runs it."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support import command_line, eventually
from tests.support.local_knative import LocalKnative
from tests.support.warm_data import OVERLAY, WarmData

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# Many alphabets, quotes, markup, a path, a format, right to left, and as long as may be.
PROJECT = ("Ü漢🎉ع '\"<b>{{x}}%00\u202e--;$(id)" + "ÿ" * 200)[:200]
TEXT = (
    "<script>alert(1)</script>\x1b[2J\n\t\r'; DROP TABLE tasks; -- \u202e\u2028ÿ🎉{{7*7}}=cmd|'!A0"
)
HOSTILE_LINK = quote("Ü漢")
MAX_PAGES = 25


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
        employee = {"id": PROJECT[::-1], "name": TEXT, "gender": TEXT, "state": TEXT}
        await self.call("POST", "project-service", "/employees", employee)
        at = quote(PROJECT, safe="")
        team = {"employee_ids": [employee["id"]]}
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
        await eventually(self.runtime.settled, every_s=0.1)


@pytest.fixture
async def morning(tmp_path: Path, warm_data: WarmData) -> AsyncIterator[Morning]:
    data = await asyncio.to_thread(warm_data.copy_to, tmp_path / "data")
    runtime = LocalKnative(OVERLAY, data)
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
    await eventually(morning.runtime.settled, every_s=0.1)

    cycles = await morning.events("io.dsm.cycle.completed.v1")
    closed = {cycle["closed_sprint_id"]: cycle["new_sprint_id"] for cycle in cycles}
    assert closed == {"PHE001-S01": "PHE001-S02", hostile: f"{PROJECT}-S02"}
    assert await morning.runtime.ask("dead-letters") == []
    # One that cannot be handled, for the lists of dead letters.
    assert await morning.runtime.send("io.dsm.cycle.requested.v1", {"project_id": TEXT}) == 202
    await eventually(morning.runtime.settled, every_s=0.1)
    await the_console_shows_it(morning.runtime)
    await asyncio.to_thread(the_commands_show_it, morning.runtime)


async def the_console_shows_it(runtime: LocalKnative) -> None:
    """Each page to which one leads, as far as the pages of hostile things."""
    waiting, seen, shown = ["/"], set[str](), ""
    async with runtime.client("console", headers={"host": "console.dsm.localhost"}) as client:
        while waiting and len(seen) < MAX_PAGES:
            at = waiting.pop(0)
            seen.add(at)
            page = await client.get(at, follow_redirects=True)
            assert page.status_code == 200, (at, page.text[:500])
            if page.headers["content-type"].startswith("text/csv"):
                continue
            assert "<script>alert" not in page.text, at
            assert "<b>{{" not in page.text, at
            assert "is unavailable" not in page.text, at
            shown += html.unescape(page.text)
            links = {html.unescape(link) for link in re.findall(r'href="(/[^"]*)"', page.text)}
            links = {link for link in links if not link.startswith("/static/")}
            # The hostile ones first: there are many of the others.
            new = sorted(links - seen - set(waiting), key=lambda at: HOSTILE_LINK not in at)
            waiting = [at for at in new if HOSTILE_LINK in at] + waiting
            waiting += [at for at in new if HOSTILE_LINK not in at]
    hostile = [at for at in seen if HOSTILE_LINK in at]
    assert len(hostile) >= 3, "its project, its sprints"
    assert PROJECT[:20] in shown


def the_commands_show_it(runtime: LocalKnative) -> None:
    for command in (
        ("status",), ("services",), ("schedules",), ("events", "--limit", "200"), ("dead-letters",),
        ("logs", "scrum-simulate"), ("logs", "cycle-trigger"),
        ("events", "--json"), ("dead-letters", "--json"),
    ):  # fmt: skip
        done = command_line.run(*command, "--data", str(runtime.data))
        assert done.returncode in (0, 1), (command, done.stderr)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == 0 or command == ("status",), (command, done.stderr)
        assert done.stdout, command
        printed = [
            c for c in done.stdout if (c < " " and c not in "\n\t") or c in "\x7f\u202e\u2028"
        ]
        assert printed == [], command
