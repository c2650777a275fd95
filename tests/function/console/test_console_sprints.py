"""A sprint's and a project's page over services that tell a known history."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest

from tests.support.cluster import Cluster
from tests.support.console_browser import browser
from tests.support.sprint_services import join_sprint_services


@pytest.fixture
def services(cluster: Cluster) -> Cluster:
    join_sprint_services(cluster)
    return cluster


async def read(cluster: Cluster, path: str) -> str:
    async with browser(cluster) as client:
        return (await client.get(path)).text


async def test_days_that_are_no_working_days_are_shaded_and_named(services: Cluster) -> None:
    page = await read(services, "/sprints/P-S02/panels/burndown")
    bands = re.findall(r'class="off"[^>]*><title>([^<]+)', page)
    assert sorted(bands) == [
        "Mon 9 Mar 2026: Founders' Day",
        "Sat 7 Mar 2026: weekend",
        "Sun 8 Mar 2026: weekend",
    ]
    assert page.count("<td>weekend</td>") == 2


async def test_a_change_of_scope_is_marked_where_it_happened(services: Cluster) -> None:
    page = await read(services, "/sprints/P-S02/panels/burndown")
    assert re.findall(r'class="noted">.*?<text[^>]*>([^<]+)', page) == ["+1 task"]
    assert re.search(r"Thu 5 Mar 2026</time></th>.*?<td>\+1 task</td>", page)
    assert "scope changed" in page


async def test_without_holidays_the_weekends_are_shaded_all_the_same(services: Cluster) -> None:
    services.down.add("project-service")
    page = await read(services, "/sprints/P-S02/panels/burndown")
    assert page.count("<td>weekend</td>") == 2
    assert "Founders" not in page


async def test_the_flow_counts_tasks_by_state_on_each_day(services: Cluster) -> None:
    page = await read(services, "/sprints/P-S02/panels/flow")
    rows = re.findall(r'(\d+ Mar) 2026</th>((?:<td class="num">\d+</td>)+)', page)
    counts = [(date, re.findall(r">(\d+)<", cells)) for date, cells in rows]
    assert counts[0] == ("3 Mar", ["0", "2", "1"])
    assert counts[-1] == ("6 Mar", ["1", "2", "1"])
    assert 'class="pygal-chart stacked"' in page


async def test_each_employee_has_a_progress(services: Cluster) -> None:
    page = await read(services, "/sprints/P-S02/panels/members")
    assert re.findall(r'scope="row">([^<]+)', page) == ["Ada", "E2", "unassigned"]
    assert 'value="70"' in page  # Ada's: 100 and 40
    assert "1 of 2" in page


async def test_blocked_and_stale_tasks_say_why(services: Cluster) -> None:
    page = await read(services, "/sprints/P-S02/panels/stuck")
    assert re.findall(r'scope="row">(\w+)', page) == ["T3", "T2"]
    assert "waits for a licence" in page
    assert "did not move in 3 reports, at 40 %" in page


async def test_a_project_has_its_velocity_and_its_cycles(services: Cluster) -> None:
    velocity = await read(services, "/projects/P/panels/velocity")
    assert "4.0 tasks per closed sprint" in velocity
    assert velocity.index("P-S02</a>") < velocity.index("P-S01</a>")
    cycles = await read(services, "/projects/P/panels/cycle_history")
    assert cycles.count("<tr>") == 2  # with its head
    assert "the backlog was empty" in cycles
    page = await read(services, "/projects/P")
    assert 'href="/sprints" aria-current="page"' in page
    assert "There is no project NONE." in await read(services, "/projects/NONE")


@pytest.mark.parametrize("kind", ["projects", "sprints"])
async def test_the_links_of_a_page_lead_to_its_own_parts_whatever_the_id_is(
    services: Cluster, kind: str
) -> None:
    services.down.update(set(services.apps) - {"console"})  # each part offers to try again
    here = f"/{kind}/" + quote("Ü漢%00#?x='\"<b>\u202e", safe="")
    async with browser(services) as client:
        page = await client.get(here)
        assert page.status_code == 200
        parts = set(re.findall(r'hx-get="([^"]+/panels/[^"]+)"', page.text))
        assert len(parts) >= 2
        for part in parts:
            assert part.startswith(f"{here}/panels/"), part
            assert (await client.get(part)).status_code == 200
        assert f'name="next" value="{here}"' in page.text
