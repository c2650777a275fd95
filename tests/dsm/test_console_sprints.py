"""The console's pages of sprints, over the real services."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from functions.console.main import console
from functions.console.sprints import sprints
from functions.events.schedule import ScheduleDue
from functions.kit.durable import migrate
from functions.sprint_report.main import sprint_report
from tests.conftest import MakeMigrated
from tests.dsm.conftest import Dsm
from tests.support.console_browser import browser


async def test_a_sprint_that_is_none_is_a_page_that_says_so(dsm: Dsm) -> None:
    dsm.cluster.deploy(console)
    sprint = await dsm.sprint()
    async with browser(dsm.cluster) as client:
        assert (await client.get(f"/sprints/{sprint}")).status_code == 200
        answer = await client.get("/sprints/NOPE")
    assert answer.status_code == 404
    assert "Sprint NOPE not found" in answer.text


async def test_notes_and_projects_come_page_by_page(
    dsm: Dsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsm.cluster.deploy(console)
    sprint = await dsm.sprint()
    first = date(2026, 3, 2)
    for number in range(sprints.NOTES + 1):
        day = str(first + timedelta(days=number))
        note = {"project_id": "GEM-001", "sprint_id": sprint, "report_date": day, "reports": {}}
        await dsm.post("chronicle-service", "/v1/notes/daily_scrum_report", note)
    async with browser(dsm.cluster) as client:
        at = f"/sprints/{sprint}/panels/notes"
        newest, oldest = (await client.get(at)).text, (await client.get(f"{at}?page=1")).text
        assert newest.count("<details") == sprints.NOTES
        assert oldest.count("<details") == 1
        assert "Mon 2 Mar 2026" in oldest
        assert "page=1" in newest
        assert "page=0" in oldest

        monkeypatch.setattr(sprints, "PROJECTS", 1)
        await dsm.sprint("HEX-002")
        first_page = (await client.get("/sprints/panels/sprints")).text
        second_page = (await client.get("/sprints/panels/sprints?page=1")).text
    assert ("GEM-001" in first_page, "HEX-002" in first_page) == (True, False)
    assert ("GEM-001" in second_page, "HEX-002" in second_page) == (False, True)


async def test_a_report_is_of_its_time_and_the_numbers_are_of_now(
    dsm: Dsm, make_migrated: MakeMigrated
) -> None:
    dsm.cluster.deploy(console)
    dsm.cluster.deploy(sprint_report, {"DATABASE_URL": await make_migrated(*migrate.owners())})
    await dsm.sprint("A-1")
    await dsm.finish("A-1-S01")
    now = datetime.now(UTC)
    tick = ScheduleDue(schedule="sprint-report", time=now)
    assert (await dsm.cluster.tell("sprint-report", tick)).status_code == 202
    async with browser(dsm.cluster) as client:
        before = (await client.get("/panels/report")).text
        assert f"0 active, 1 complete as of {now:%H:%M} UTC</span>" in before
        assert "Begun since" not in before
        assert 'aria-label="A-1-S01, tasks done"></progress><span>100</span>' in before
        assert ">10 of 10 tasks</td>" in before
        sprint = (await client.get("/sprints/A-1-S01/panels/sprint")).text
        assert "10 of 10 tasks are done, 100 %." in sprint
        assert ">sprint active<" in (await client.get("/panels/glance")).text

        await dsm.post("sprint-service", "/sprints/A-1-S01/close")
        await dsm.backlog("A-1")
        body = {"sprint_name": "second", "duration_weeks": 2}
        await dsm.post("sprint-service", "/sprints/A-1", body)
        await dsm.sprint("B-1")

        after = (await client.get("/panels/report")).text
        assert f"as of {now:%H:%M} UTC; A-1-S02 has begun since" in after
        assert 'href="/sprints/A-1-S02">A-1-S02</a>' in after
        listed = (await client.get("/sprints/panels/sprints")).text
        glance = (await client.get("/panels/glance")).text
        assert listed.count(">in progress</span>") == 2
        assert 'aria-label="2 sprints active"' in glance
        assert 'aria-label="1 complete"' in glance
