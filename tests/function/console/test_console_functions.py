"""The Functions page: status by Kubernetes, the last hour by each record of runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from functions.console.main import console
from tests.support.cluster import Cluster
from tests.support.console_browser import LOCAL, browser

NOW = datetime(2026, 3, 6, 15, tzinfo=UTC)


def record(*runs: dict[str, Any]) -> Starlette:
    async def answered(request: Request) -> Response:
        since = datetime.fromisoformat(request.query_params["since"])
        assert since == NOW - timedelta(hours=1)
        return JSONResponse({"runs": list(runs), "next": None})

    return Starlette(routes=[Route("/runs", answered)])


def run(took_ms: float, outcome: str = "ok") -> dict[str, Any]:
    ended = (NOW - timedelta(minutes=7)).isoformat()
    named = {"id": "sprint-report@1", "type": "dev.knative.sources.ping"}
    detail = "no room" if outcome == "failed" else None
    return {**named, "took_ms": took_ms, "outcome": outcome, "ended_at": ended, "detail": detail}


@pytest.fixture
async def page(cluster: Cluster) -> str:
    cluster.deploy(console, LOCAL, now=lambda: NOW)
    cluster.add("sprint-report", record(run(30), run(10), run(2000, "failed")))
    async with browser(cluster) as client:
        return (await client.get("/functions/panels/functions")).text


def test_its_durations_and_failures_are_counted(page: str) -> None:
    row = page[page.index("runs-sprint-report") :].split("</tr>")[0]
    assert 'data-label="Runs">3<' in row
    assert 'href="/dead-letters?function=sprint-report">1</a>' in row
    assert 'data-label="p50">30 ms<' in row
    assert 'data-label="p95">2.0 s<' in row
    assert 'aria-label="Runs per 5 minutes: 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0"' in row


def test_a_failed_run_says_why(page: str) -> None:
    assert 'data-label="Reason">no room<' in page


def test_what_is_away_is_named_and_costs_no_other_its_row(page: str) -> None:
    assert "cycle-trigger is unavailable: " in page
    assert "Kubernetes is unavailable: " in page
    assert page.count(">unavailable<") == 6
