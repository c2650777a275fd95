"""backlog-setup writes no row that belongs to another project: ids are global."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from tests.support.backlog_world import Team, backlog, seed, team, url
from tests.support.cluster import Cluster

__all__ = ["backlog", "team", "url"]  # fixtures


@pytest.mark.parametrize("reset", [False, True], ids=["kept", "reset"])
async def test_a_story_of_another_project_is_not_taken(
    cluster: Cluster, team: Team, backlog: asyncpg.Connection[asyncpg.Record], reset: bool
) -> None:
    await seed(cluster)
    document: dict[str, Any] = {
        "project_id": "P",
        "reset": reset,
        "tasks": [{"id": "P-1", "title": "t"}],
        "stories": [
            {"id": "P-S", "description": "ours", "tasks": ["P-1"]},
            {"id": "STR-001", "description": "stolen", "tasks": ["P-1"]},
        ],
    }
    async with cluster.client("backlog-setup") as client:
        response = await client.post("/", json=document)

    assert response.status_code == 422
    assert response.json()["detail"] == "stories.1.id: 'STR-001' belongs to project TEST-001"
    assert await backlog.fetchval("SELECT count(*) FROM tasks WHERE project_id = 'P'") == 0
    assert await backlog.fetchval("SELECT count(*) FROM story_tasks") == 8
    text = await backlog.fetchval("SELECT description FROM stories WHERE id = 'STR-001'")
    assert text != "stolen"


async def test_a_projects_own_story_may_get_more_tasks(
    cluster: Cluster, team: Team, backlog: asyncpg.Connection[asyncpg.Record]
) -> None:
    for task in ("P-1", "P-2"):
        await seed(
            cluster,
            project_id="P",
            tasks=[{"id": task, "title": "t"}],
            stories=[{"id": "P-S", "description": "ours", "tasks": [task]}],
        )
    assert await backlog.fetchval("SELECT count(*) FROM story_tasks WHERE story_id = 'P-S'") == 2
