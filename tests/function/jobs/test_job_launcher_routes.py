"""What the launcher says of its routes: who looks for lost events asks what is wanted."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from functions.job_launcher.main import job_launcher
from functions.kit import cloudevents
from tests.support.cluster import Cluster
from tests.support.job_world import PYTHON_ROUTES, job_world, shipped_routes


async def routes_of(cluster: Cluster, folder: Path, text: str) -> list[dict[str, object]]:
    (folder / "routes.yaml").write_text(text)
    cluster.deploy(job_launcher, {"ROUTES_FILE": str(folder / "routes.yaml")})
    async with cluster.client("job-launcher") as client:
        found: list[dict[str, object]] = (await client.get("/routes")).json()["routes"]
        return found


async def test_each_route_says_what_it_matches(cluster: Cluster, tmp_path: Path) -> None:
    first, *_ = await routes_of(cluster, tmp_path, shipped_routes())
    assert first == {
        "name": "issue-labelled-agent",
        "match": {
            "type": ["com.github.issue.labeled"],
            "label": ["agent"],
            "actor": "triage",
            "bot": False,
        },
        "job": True,
    }


async def test_an_event_that_no_route_names_leaves_nothing_behind(
    cluster: Cluster, functions_database: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with job_world(cluster, functions_database, tmp_path) as world:
        event = cloudevents.Message("of-no-route", "/tests", "test.unknown.v1", data=b"{}")
        assert (await cluster.tell("job-launcher", event)).status_code == 202
        assert await world.jobs() == []
    connection = await asyncpg.connect(functions_database)
    left = await connection.fetchval(
        "SELECT (SELECT count(*) FROM inbox) + (SELECT count(*) FROM run WHERE id = 'of-no-route')"
    )
    await connection.close()
    assert left == 0
    assert not [line for line in caplog.messages if "of-no-route" in line]


async def test_a_route_that_ignores_makes_no_job(cluster: Cluster, tmp_path: Path) -> None:
    found = await routes_of(cluster, tmp_path, PYTHON_ROUTES)
    assert [(one["name"], one["job"]) for one in found] == [("run", True), ("never", False)]
