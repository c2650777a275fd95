"""Today in six numbers: each from its own source, and each unknown for itself."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from functions.console.main import console
from tests.support.cluster import Cluster
from tests.support.console_browser import LOCAL, browser
from tests.support.sprint_services import answers

NOW = datetime(2026, 3, 6, 15, tzinfo=UTC)
AT = "2026-03-06T14:00:00Z"
REPORT: dict[str, object] = {
    "sprints": [{"state": state} for state in ("active", "active", "complete", "no-sprint")]
}


def runs(*events: tuple[str, dict[str, object]]) -> Starlette:
    """A function whose record of runs holds one run, which emitted these events."""
    answer = [
        {"id": str(number), "type": type_, "data": data}
        for number, (type_, data) in enumerate(events)
    ]

    async def answered(request: Request) -> Response:
        return JSONResponse({"runs": [{"ended_at": AT, "answer": answer}], "next": None})

    return Starlette(routes=[Route("/runs", answered)])


async def numbers(cluster: Cluster, query: str = "") -> dict[str, str]:
    """Each number of the page by its name."""
    async with browser(cluster) as client:
        page = (await client.get(f"/panels/glance{query}")).text
    return {name: value for value, name in re.findall(r'aria-label="(\S+) ([a-z ]+)"', page)}


async def test_each_number_is_counted_from_what_the_functions_emitted(cluster: Cluster) -> None:
    cluster.deploy(console, LOCAL, now=lambda: NOW)
    cluster.add("sprint-report", runs(("io.dsm.sprints.reported.v1", REPORT)))
    scrum = "io.dsm.scrum.reported.v1"
    cluster.add("scrum-report", runs((scrum, {"moved_tasks": 3}), (scrum, {"moved_tasks": 4})))
    found = await numbers(cluster, "?day=2026-03-05")
    assert found == {
        "sprints active": "2",
        "complete": "1",
        "tasks moved": "7",
        "notes filed": "2",
    }


async def test_a_source_that_is_away_makes_only_its_numbers_unknown(cluster: Cluster) -> None:
    cluster.deploy(console, LOCAL, now=lambda: NOW)
    cluster.add("sprint-report", runs(("io.dsm.sprints.reported.v1", REPORT)))
    found = await numbers(cluster, "?day=2026-03-05")
    assert found["sprints active"] == "2"
    assert found["tasks moved"] == "unknown"


async def test_notes_of_which_no_run_is_on_record_are_counted(cluster: Cluster) -> None:
    cluster.deploy(console, LOCAL, now=lambda: NOW)
    cluster.add("scrum-report", runs())
    notes = "/v1/notes/daily_scrum_report/notes"
    cluster.add("chronicle-service", answers(**{notes: [{"reports": {}}, {"reports": {}}]}))
    found = await numbers(cluster, "?day=2026-03-05")
    assert found["notes filed"] == "2"
    assert found["tasks moved"] == "unknown"
    cluster.add("chronicle-service", answers(**{notes: []}))
    found = await numbers(cluster, "?day=2026-03-05")
    assert (found["notes filed"], found["tasks moved"]) == ("0", "0")


async def test_what_needs_attention_is_looked_for_once_for_all_parts_of_a_page(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """By what each look logs of an answer that it cannot understand."""
    cluster.deploy(console, LOCAL, now=lambda: NOW)
    cluster.add("dead-letter", JSONResponse({"unknown": "shape"}))
    headers = {"X-Panels": "glance=other attention=other navigation=other"}
    async with browser(cluster) as client:
        parts = (await client.get("/panels/changed", headers=headers)).text
    assert all(f'id="{id}"' in parts for id in ("panel-glance", "panel-attention", "pages"))
    assert caplog.messages.count("attention: Dead-lettered events") == 1
