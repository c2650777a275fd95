"""A sprint's and a project's page over services that tell a known history."""

from __future__ import annotations

import csv
import html
import re
from urllib.parse import quote

import pytest
from starlette.responses import PlainTextResponse

from tests.support.cluster import Cluster
from tests.support.console_browser import browser
from tests.support.sprint_services import answers, join_sprint_services


@pytest.fixture
def services(cluster: Cluster) -> Cluster:
    join_sprint_services(cluster)
    return cluster


async def read(cluster: Cluster, path: str) -> str:
    async with browser(cluster) as client:
        return (await client.get(path)).text


async def test_days_that_are_no_working_days_are_shaded_and_named(services: Cluster) -> None:
    page = await read(services, "/sprints/P-S02/panels/burndown")
    assert page.count('class="off"') == 3
    shown = [html.unescape(text) for text in re.findall(r"<title>([^<]+)</title></rect>", page)]
    off = [text.partition(";")[::2] for text in shown if ";" in text and "task" not in text]
    assert [(text.split(":")[0], why) for text, why in off] == [
        ("7 Mar", " weekend"),
        ("8 Mar", " weekend"),
        ("9 Mar", " Founders' Day"),
    ]
    assert page.count("<td>weekend</td>") == 2
    assert "Holidays: Mon 9 Mar 2026, Founders&#39; Day<" in page


@pytest.mark.parametrize(
    ("panel", "names"),
    [
        ("/sprints/P-S02/panels/burndown", ["ideal", "left", "forecast", "at best", "at worst"]),
        ("/sprints/P-S02/panels/flow", ["done", "begun", "to do"]),
        ("/projects/P/panels/velocity", ["planned", "completed"]),
    ],
)
async def test_the_values_of_a_plot_are_those_of_its_table(
    services: Cluster, panel: str, names: list[str]
) -> None:
    async with browser(services) as client:
        page = (await client.get(panel)).text
        table = list(csv.DictReader((await client.get(f"{panel}.csv")).text.splitlines()))
    columns = re.findall(r"<title>([^:<]+): ([^<;]*)", page)
    assert len(columns) == len(table)
    by_label = {
        label: dict(re.findall(r"([a-z ]+?) ([\d.]+)(?:,|$)", text)) for label, text in columns
    }
    rows = table if "P-S02</a>" not in page else table[::-1]
    for (label, shown), row in zip(by_label.items(), rows, strict=True):
        known = {name.strip(): float(value) for name, value in shown.items()}
        listed = {name: row[name.capitalize()] for name in names if row[name.capitalize()]}
        if label == "P-S02":
            del listed["completed"]  # it is under way
        assert known == {name: float(value) for name, value in listed.items()}, label


async def test_names_stand_beside_ids(services: Cluster) -> None:
    assert "<h1>Project P <small>Phoenix</small></h1>" in await read(services, "/projects/P")
    sprint = await read(services, "/sprints/P-S02")
    assert "<h1>P-S02 <small>Second</small></h1>" in sprint
    assert "<title>P-S02 · Second · DSM console</title>" in sprint
    assert 'href="/projects/P">P</a> Phoenix' in sprint
    services.down.add("project-service")
    assert "<h1>Project P</h1>" in await read(services, "/projects/P")


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
    assert re.findall(r'data-label="Change">([^<]+)', page) == ["0", "+20", "0"]
    assert "from the report of Thu 5 Mar 2026 to that of Fri 6 Mar 2026" in page


async def test_how_much_each_employee_moved_is_unknown_without_reports(services: Cluster) -> None:
    services.down.add("chronicle-service")
    page = await read(services, "/sprints/P-S02/panels/members")
    assert re.findall(r'data-label="Change">([^<]+)', page) == ["\N{EN DASH}"] * 3


async def test_each_sprint_is_beside_its_plan_and_late_ones_come_first(services: Cluster) -> None:
    async with browser(services) as client:
        table = (await client.get("/sprints/panels/sprints.csv")).text.splitlines()
        tile = (await client.get("/panels/glance")).text
    rows = list(csv.DictReader(table))
    assert [(row["Sprint"], row["Done"], row["Against plan"]) for row in rows] == [
        ("P-S02", "1 of 4 \N{MIDDLE DOT} 45 %", "6 days late"),
        ("Q-S01", "1 of 4 \N{MIDDLE DOT} 25 %", "too early to say"),
        ("P-S01", "", "closed 2 Mar, 1 day early"),
    ]
    assert "<small>1 too early to say</small>" in tile


async def test_a_task_has_a_column_for_its_id_and_one_percentage(services: Cluster) -> None:
    async with browser(services) as client:
        table = (await client.get("/sprints/P-S02/panels/sprint.csv")).text.splitlines()
    assert table[:2] == ["Task,Id,Who,%", "T1,T1,Ada,100"]


async def test_how_far_a_sprint_is_has_one_total_and_the_mean_beside_it(services: Cluster) -> None:
    page = await read(services, "/sprints/P-S02/panels/sprint")
    assert "1 of 4 tasks is done, 25 %." in page
    assert "mean progress of all tasks, where one half done counts as half, is 45 %" in page


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


async def test_a_project_that_cannot_be_read_costs_no_other(services: Cluster) -> None:
    rows = [5, {"name": "no id"}, {"id": "NONE", "name": 7}, {"id": "P", "name": "Phoenix"}]
    services.add("project-service", answers(**{"/projects": rows}))
    assert "<h1>Project P <small>Phoenix</small></h1>" in await read(services, "/projects/P")
    assert "<h1>Project NONE</h1>" in await read(services, "/projects/NONE")
    assert 'href="/projects/P">P</a> Phoenix' in await read(services, "/sprints/P-S02")


@pytest.mark.parametrize("body", ["<html>", "{}", " " * 10_000_000], ids=["html", "map", "large"])
async def test_a_page_stands_without_names_that_cannot_be_read(
    services: Cluster, body: str
) -> None:
    services.add("project-service", PlainTextResponse(body))
    page = await read(services, "/projects/P")
    assert "<h1>Project P</h1>" in page
    assert "P-S01" in page
    assert "<h1>P-S02 <small>Second</small></h1>" in await read(services, "/sprints/P-S02")


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
