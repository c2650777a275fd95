"""Each table of the console is there as CSV: a panel's beside it, any other page's in its link."""

from __future__ import annotations

import csv
import html
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from functions.console.main import console
from functions.console.rendering import FOLDER
from tests.support.cluster import Cluster
from tests.support.console_browser import LOCAL, browser, press

TEMPLATES = FOLDER / "templates"
LINK = re.compile(r'<a href="data:text/csv;charset=utf-8,([^"]*)" download="([a-z]+\.csv)">CSV</a>')
# A panel's body has the link; macros draw within panels.
WITH_LINK = {"panels", "macros.html"}


def rows_of(page: str) -> tuple[str, list[list[str]]]:
    """The file's name, and its rows."""
    [(data, name)] = LINK.findall(page)
    return name, list(csv.reader(unquote(html.unescape(data)).splitlines()))


def others() -> list[Path]:
    """The templates of tables on pages that are no panels."""
    found = [path for path in sorted(TEMPLATES.rglob("*.html")) if "<table" in path.read_text()]
    return [path for path in found if path.relative_to(TEMPLATES).parts[0] not in WITH_LINK]


@pytest.mark.parametrize("path", others(), ids=lambda path: path.stem)
def test_a_table_that_is_in_no_panel_has_its_csv(path: Path) -> None:
    for before in path.read_text().split("<table")[:-1]:
        assert before.count("{% call with_csv(") > before.count("{% endcall %}")


async def test_the_results_of_a_bulk_action_are_there_as_csv(dead_letters: Cluster) -> None:
    dead_letters.deploy(console, LOCAL)
    async with browser(dead_letters) as client:
        asked = "/bulk/dead-letters?item=1&action=dismiss"
        await press(client, asked, items="1", reason="a test of the sender")
        done = await press(client, asked, items="1\n999", reason="a test of the sender")
    name, [head, dismissed, failed] = rows_of(done.text)
    assert name == "results.csv"
    assert head == ["Dead letter", "Outcome", "Detail"]
    assert dismissed[:2] == ["1 cycle.requested · <b>NOBODY</b>", "failed"]
    assert "not open" in dismissed[2]
    assert failed[:2] == ["999", "failed"]
    assert "999" in failed[2]


async def test_the_hits_of_a_search_are_there_as_csv(
    dead_letters: Cluster,
) -> None:
    dead_letters.deploy(console, LOCAL)
    async with browser(dead_letters) as client:
        page = (await client.get("/search?q=report")).text
    name, rows = rows_of(page)
    assert name == "search.csv"
    assert rows[0] == ["Name", "Kind"]
    assert ["sprint-report", "Function"] in rows[1:]
