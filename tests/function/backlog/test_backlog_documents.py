"""backlog-setup: a user's own document, what is refused, and databases that are in no order."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from functions.backlog_setup.main import backlog_setup
from functions.events.backlog import BacklogSetupRequested
from tests.support import named_by_parts
from tests.support.backlog_world import Team, backlog, seed, team, url
from tests.support.cluster import Cluster

__all__ = ["backlog", "team", "url"]  # fixtures

OWN = """
project_id: OWN
tasks:
  - {id: T1, title: First, assigned_to: anna}
  - {id: T2, title: Second, progress_percentage: 30, status: in_progress}
stories:
  - {id: S1, description: A story, tasks: [T1, T2]}
"""


async def test_a_users_own_document_is_seeded_from_yaml(
    cluster: Cluster, team: Team, backlog: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with cluster.client("backlog-setup") as client:
        response = await client.post("/", content=OWN, headers={"Content-Type": "application/yaml"})
    answer = response.json()
    assert response.status_code == 200, answer
    assert answer["events"][0]["data"]["task_ids"] == ["T1", "T2"]
    rows = await backlog.fetch("SELECT task_id, assigned_to, progress_percentage FROM tasks")
    assert {tuple(row) for row in rows} == {("T1", "anna", 0), ("T2", "E002", 30)}
    assert await backlog.fetchval("SELECT count(*) FROM story_tasks") == 2


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"tasks": [{"id": "T"}]}, "tasks.0.title: Field required"),
        ({"tasks": [{"id": "T", "title": " "}]}, "tasks.0.title"),
        ({"tasks": [{"id": "T", "title": "t", "progress_percentage": 101}]}, "tasks.0.progress_"),
        ({"tasks": [{"id": "T", "title": "t"}] * 2}, "tasks.1.id: 'T' is there twice"),
        (
            {
                "tasks": [{"id": "T", "title": "t"}],
                "stories": [{"id": "S", "description": "d", "tasks": ["X"]}],
            },
            "stories.0.tasks.0: there is no task 'X'",
        ),
        ({"stories": [{"id": "S", "description": "d"}]}, "give the tasks beside them"),
        ({"task": []}, "task: Extra inputs"),
        ({"tasks": []}, "tasks"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_wrong_document_is_refused_as_a_whole_by_path(
    cluster: Cluster,
    team: Team,
    backlog: asyncpg.Connection[asyncpg.Record],
    document: dict[str, Any],
    message: str,
) -> None:
    async with cluster.client("backlog-setup") as client:
        response = await client.post("/", json=document)
    assert response.status_code == 422
    assert message in response.json()["detail"]
    assert await backlog.fetchval("SELECT count(*) FROM tasks") == 0


async def test_a_task_of_another_project_is_not_taken(cluster: Cluster, team: Team) -> None:
    await seed(cluster)
    task = {"id": "TSK-002", "title": "t"}
    async with cluster.client("backlog-setup") as client:
        response = await client.post("/", json={"project_id": "P", "tasks": [task]})
    assert response.status_code == 422
    assert "tasks.0.id: 'TSK-002' belongs to project TEST-001" in response.json()["detail"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("DROP TABLE stories", "table stories"),
        ("DROP TABLE tasks, stories", "table tasks, table stories"),
        ("ALTER TABLE tasks DROP COLUMN sprint_id", "column tasks.sprint_id"),
    ],
)
async def test_missing_tables_and_columns_are_named_with_the_remedy(
    cluster: Cluster,
    team: Team,
    backlog: asyncpg.Connection[asyncpg.Record],
    damage: str,
    message: str,
) -> None:
    await backlog.execute(damage)
    response = await cluster.tell("backlog-setup", BacklogSetupRequested())
    assert response.status_code == 503
    assert f"{message}; run the migrations of backlog-service" in response.json()["detail"]


async def test_a_connection_cut_in_mid_transaction_leaves_nothing_half_written(
    cluster: Cluster, team: Team, backlog: asyncpg.Connection[asyncpg.Record]
) -> None:
    await backlog.execute(
        """CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END';
           CREATE TRIGGER cut BEFORE INSERT ON story_tasks FOR EACH ROW EXECUTE FUNCTION cut()"""
    )
    response = await cluster.tell("backlog-setup", BacklogSetupRequested())
    assert response.status_code == 503
    assert response.json()["detail"].startswith("database")
    assert await backlog.fetchval("SELECT count(*) FROM tasks") == 0
    await backlog.execute("DROP TRIGGER cut ON story_tasks")
    assert (await seed(cluster)).created == 8


async def test_a_wrong_password_is_reported_without_showing_it(
    cluster: Cluster, url: str, backlog: asyncpg.Connection[asyncpg.Record]
) -> None:
    rules = Path(await backlog.fetchval("SHOW hba_file"))
    trusting = rules.read_text()
    role = f"careful_{urlsplit(url).path.strip('/')}"
    await backlog.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'right'")
    rules.write_text(f"local all {role} scram-sha-256\n{trusting}")
    await backlog.execute("SELECT pg_reload_conf()")
    parts = urlsplit(url)
    locked = urlunsplit(parts._replace(netloc=f"{role}:wr0ng@"))
    cluster.deploy(backlog_setup, {"DATABASE_URL": locked})
    response = await cluster.tell("backlog-setup", BacklogSetupRequested())
    assert response.status_code == 503
    assert "password authentication failed" in response.json()["detail"]
    assert "wr0ng" not in response.text


async def test_the_database_is_found_by_the_seeds_settings(cluster: Cluster, url: str) -> None:
    environ = {
        **named_by_parts(url),
        "POSTGRES_PORT": "5432",
        "POSTGRES_PASSWORD": "a/b?c",
        "PROJECT_ID": "GEM-007",
        "PROJECT_SERVICE_URL": "http://projects.example",
    }
    cluster.deploy(backlog_setup, environ)
    cluster.add("projects", Team())
    seeded = await seed(cluster)
    assert (seeded.project_id, seeded.team) == ("GEM-007", "project-service")
