"""The console's pages of sprints, over the real services."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from functions.console.main import console
from functions.console.sprints import sprints
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
