"""What the launcher says of its routes: who looks for lost events asks what is wanted."""

from __future__ import annotations

from pathlib import Path

from functions.job_launcher.main import job_launcher
from tests.support.cluster import Cluster
from tests.support.job_world import PYTHON_ROUTES, shipped_routes


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


async def test_a_route_that_ignores_makes_no_job(cluster: Cluster, tmp_path: Path) -> None:
    found = await routes_of(cluster, tmp_path, PYTHON_ROUTES)
    assert [(one["name"], one["job"]) for one in found] == [("run", True), ("never", False)]
