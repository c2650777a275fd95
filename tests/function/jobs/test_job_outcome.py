"""What came of a Job is what agent-outputs reports, for whoever asks after its task."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from functions.events.agent import AgentDelivered, AgentUndelivered, AgentUsage
from tests.support.cluster import Cluster
from tests.support.job_world import World, asked, job_world

AT = datetime(2026, 3, 2, 14, tzinfo=UTC)
URL = "https://github.com/acme/shop/pull/8"


@pytest.fixture
async def world(cluster: Cluster, functions_database: str, tmp_path: Path) -> AsyncIterator[World]:
    async with job_world(cluster, functions_database, tmp_path) as found:
        yield found


async def ended(world: World) -> dict[str, Any]:
    """The fields of a fact about a Job that has ended."""
    await world.tell(asked("e1"))
    await world.until("queued", "started", "succeeded")
    [job] = await world.jobs()
    return {"job_id": job["job_id"], "task_id": "t", "route": "run", "settled_at": AT}


async def task(world: World) -> dict[str, Any]:
    async with world.cluster.client("job-launcher") as client:
        found: dict[str, Any] = (await client.get("/tasks/t")).json()
        return found


async def test_a_task_shows_its_pull_request_and_its_report(world: World) -> None:
    fact = AgentDelivered(
        **await ended(world),
        pull_request=8,
        url=URL,
        commits=2,
        files=["a.py"],
        report="It was the cache.",
        usage=AgentUsage(turns=3, cost_usd=0.5),
    )
    for _ in range(2):
        assert (await world.tell(fact)).status_code == 202

    found = await task(world)
    assert (found["status"], found["outcome"]) == ("completed", "delivered")
    assert found["links"]["pull_request"] == URL
    assert found["result"]["report"] == "It was the cache."
    assert found["result"]["usage"]["cost_usd"] == 0.5
    [job] = await world.jobs()
    assert (job["outcome"], job["result"]["url"]) == ("delivered", URL)
    assert "report" not in job["result"], "a list is short"


async def test_what_was_refused_is_no_success_and_says_why(world: World) -> None:
    details = [".github/workflows/x.yml: agents may not change this path"]
    fields = await ended(world)
    await world.tell(AgentUndelivered(**fields, reason="refused", details=details, kept=True))

    found = await task(world)
    assert (found["status"], found["outcome"]) == ("undelivered", "undelivered")
    assert (found["result"]["reason"], found["result"]["details"]) == ("refused", details)
    assert found["result"]["kept"] is True


async def test_the_later_of_two_reports_counts_in_whatever_order_they_come(world: World) -> None:
    fields = await ended(world)
    late = {**fields, "settled_at": AT.replace(hour=15)}
    await world.tell(AgentDelivered(**late, report="Found."))
    await world.tell(AgentUndelivered(**fields, reason="not_applied"))

    assert (await task(world))["outcome"] == "delivered"


async def test_a_report_about_an_unknown_job_is_left_alone(world: World) -> None:
    fields = {"job_id": "of-another", "task_id": "t", "route": "run", "settled_at": AT}
    answer = await world.tell(AgentUndelivered(**fields, reason="no_outputs"))
    assert answer.status_code == 202
    assert await world.jobs() == []
