"""backlog-setup: the same rows however often and by how many it is asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from starlette.responses import JSONResponse

from functions.backlog_setup.decide import FALLBACK_TEAM, SAMPLE_STORIES, SAMPLE_TASKS
from functions.backlog_setup.main import backlog_setup
from functions.events.backlog import BacklogSeeded, BacklogSetupRequested
from functions.kit import envelope
from tests.cluster import Cluster, reply_of
from tests.conftest import MakeDatabase

ORIGINAL_TABLES = """
    CREATE TABLE tasks (task_id varchar(255) PRIMARY KEY, project_id varchar(255) NOT NULL,
        title varchar(255) NOT NULL, description text, status varchar(50),
        assigned_to varchar(255), sprint_id varchar(255), progress_percentage int);
    CREATE TABLE stories (id varchar(255) PRIMARY KEY, description text NOT NULL);
    CREATE TABLE story_tasks (story_id varchar(255), task_id varchar(255),
        PRIMARY KEY (story_id, task_id));
"""
ALL_ROWS = """
    SELECT (SELECT json_agg(t ORDER BY task_id) FROM tasks t)::text || '|' ||
           (SELECT json_agg(s ORDER BY id) FROM stories s)::text || '|' ||
           (SELECT json_agg(l ORDER BY story_id, task_id) FROM story_tasks l)::text
"""


class Team:
    """project-service, with a team; `status` and `members` may be changed."""

    def __init__(self) -> None:
        self.status = 200
        self.members = ["E001", "E002", "E003"]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        members = [{"id": i, "name": i} for i in self.members]
        content: dict[str, Any] = {"project_id": "TEST-001", "team_members": members}
        if self.status != 200:
            content = {"detail": "no such project"}
        await JSONResponse(content, self.status)(scope, receive, send)


@pytest.fixture
async def url(make_database: MakeDatabase) -> str:
    url = await make_database()
    connection = await asyncpg.connect(url)
    await connection.execute(ORIGINAL_TABLES)
    await connection.close()
    return url


@pytest.fixture
async def backlog(url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection to the backlog's database, to look at what is there."""
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


@pytest.fixture
def team(cluster: Cluster, url: str) -> Team:
    """A deployed backlog-setup; returns the project-service beside it."""
    cluster.deploy(backlog_setup, {"DATABASE_URL": url})
    team = Team()
    cluster.add("project-service", team)
    return team


async def seed(cluster: Cluster, **fields: Any) -> BacklogSeeded:
    reply = reply_of(await cluster.tell("backlog-setup", BacklogSetupRequested(**fields)))
    event = envelope.open_(reply, (BacklogSeeded,))
    assert isinstance(event, BacklogSeeded)
    return event


async def test_the_sample_is_eight_tasks_four_stories_eight_links(
    cluster: Cluster, team: Team, backlog: asyncpg.Connection[asyncpg.Record]
) -> None:
    seeded = await seed(cluster)
    assert (seeded.tasks_count, seeded.stories_count, seeded.story_task_mappings_count) == (8, 4, 8)
    assert seeded.created == 8
    assert seeded.task_ids == [task_id for task_id, _, _ in SAMPLE_TASKS]
    assert seeded.story_ids == [story_id for story_id, _, _ in SAMPLE_STORIES]
    tasks = await backlog.fetch("SELECT * FROM tasks ORDER BY task_id")
    assert [t["assigned_to"] for t in tasks] == [f"E00{1 + n % 3}" for n in range(8)]
    assert {
        (t["project_id"], t["status"], t["sprint_id"], t["progress_percentage"]) for t in tasks
    } == {("TEST-001", "unassigned", None, 0)}


@pytest.mark.parametrize(
    ("status", "members", "reason"),
    [(404, [], "no such project"), (200, [], "has no team members"), (500, [], "answered 500")],
    ids=["unknown project", "empty team", "service broken"],
)
async def test_without_a_team_the_documented_ids_serve_and_the_answer_says_so(
    cluster: Cluster,
    team: Team,
    backlog: asyncpg.Connection[asyncpg.Record],
    status: int,
    members: list[str],
    reason: str,
) -> None:
    team.status, team.members = status, members
    seeded = await seed(cluster)
    assert seeded.team == "fallback"
    assert reason in (seeded.team_reason or "")
    assigned = await backlog.fetch("SELECT assigned_to FROM tasks ORDER BY task_id")
    assert [row["assigned_to"] for row in assigned] == [*FALLBACK_TEAM, *FALLBACK_TEAM]


async def test_a_project_service_that_is_away_is_no_obstacle(cluster: Cluster, team: Team) -> None:
    cluster.down.add("project-service")
    seeded = await seed(cluster)
    assert seeded.team == "fallback"
    assert "ConnectError" in (seeded.team_reason or "")


async def test_ten_callers_at_once_ten_times_make_the_same_rows(
    cluster: Cluster, team: Team, backlog: asyncpg.Connection[asyncpg.Record]
) -> None:
    await seed(cluster)
    before = await backlog.fetchval(ALL_ROWS)
    for _ in range(10):
        done = await asyncio.gather(*(seed(cluster) for _ in range(10)))
        assert {event.created for event in done} == {0}
    assert await backlog.fetchval(ALL_ROWS) == before


async def test_ten_first_callers_at_once_make_each_row_once(
    cluster: Cluster, team: Team, backlog: asyncpg.Connection[asyncpg.Record]
) -> None:
    done = await asyncio.gather(*(seed(cluster) for _ in range(10)))
    assert sum(event.created for event in done) == 8
    assert await backlog.fetchval("SELECT count(*) FROM story_tasks") == 8


EDIT = """UPDATE tasks SET title = 'mine', status = 'blocked', assigned_to = 'me'
          WHERE task_id = 'TSK-003'"""
EDITED = "SELECT title, status, assigned_to FROM tasks WHERE task_id = 'TSK-003'"


async def test_a_persons_edits_are_kept(
    cluster: Cluster, team: Team, backlog: asyncpg.Connection[asyncpg.Record]
) -> None:
    await seed(cluster)
    await backlog.execute(EDIT)
    await seed(cluster)
    assert tuple(await backlog.fetchrow(EDITED) or ()) == ("mine", "blocked", "me")


async def test_reset_sets_them_back(
    cluster: Cluster, team: Team, backlog: asyncpg.Connection[asyncpg.Record]
) -> None:
    await seed(cluster)
    await backlog.execute(EDIT)
    await seed(cluster, reset=True)
    assert tuple(await backlog.fetchrow(EDITED) or ()) == (
        *("API Endpoint Implementation", "unassigned", "E003"),
    )


async def test_reset_takes_no_task_out_of_its_sprint(
    cluster: Cluster, team: Team, backlog: asyncpg.Connection[asyncpg.Record]
) -> None:
    await seed(cluster)
    await backlog.execute(
        """UPDATE tasks SET title = 'mine', sprint_id = 'S1', status = 'in_progress',
           progress_percentage = 40 WHERE task_id = 'TSK-003'"""
    )
    await seed(cluster, reset=True)
    row = await backlog.fetchrow("SELECT * FROM tasks WHERE task_id = 'TSK-003'")
    assert row is not None
    assert (row["title"], row["sprint_id"]) == ("API Endpoint Implementation", "S1")
    assert (row["status"], row["progress_percentage"]) == ("in_progress", 40)


async def test_two_projects_live_side_by_side(
    cluster: Cluster, team: Team, backlog: asyncpg.Connection[asyncpg.Record]
) -> None:
    await seed(cluster)
    other = await seed(cluster, project_id="GEM-001")
    assert other.task_ids[0] == "GEM-001-TSK-001"
    counts = await backlog.fetch("SELECT project_id, count(*) FROM tasks GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in counts] == [("GEM-001", 8), ("TEST-001", 8)]


OWN = """
project_id: OWN
tasks:
  - {id: T1, title: First, assigned_to: anna}
  - {id: T2, title: Second, progress_percentage: 30, status: in_progress}
stories:
  - {id: S1, description: A story, tasks: [T1, T2]}
"""


async def test_a_persons_own_document_is_seeded_from_yaml(
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
    ("document", "words"),
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
    words: str,
) -> None:
    async with cluster.client("backlog-setup") as client:
        response = await client.post("/", json=document)
    assert response.status_code == 422
    assert words in response.json()["detail"]
    assert await backlog.fetchval("SELECT count(*) FROM tasks") == 0


async def test_a_task_of_another_project_is_not_taken(cluster: Cluster, team: Team) -> None:
    await seed(cluster)
    task = {"id": "TSK-002", "title": "t"}
    async with cluster.client("backlog-setup") as client:
        response = await client.post("/", json={"project_id": "P", "tasks": [task]})
    assert response.status_code == 422
    assert "tasks.0.id: 'TSK-002' belongs to project TEST-001" in response.json()["detail"]


@pytest.mark.parametrize(
    ("damage", "words"),
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
    words: str,
) -> None:
    await backlog.execute(damage)
    response = await cluster.tell("backlog-setup", BacklogSetupRequested())
    assert response.status_code == 503
    assert f"{words}; run the migrations of backlog-service" in response.json()["detail"]


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


async def test_a_wrong_password_is_said_without_showing_it(
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
    parts = urlsplit(url)
    environ = {
        "POSTGRES_HOST": parts.query.removeprefix("host="),
        "POSTGRES_PORT": "5432",
        "POSTGRES_USER": "postgres",
        "POSTGRES_PASSWORD": "a/b?c",
        "POSTGRES_DB": parts.path.strip("/"),
        "PROJECT_ID": "GEM-007",
        "PROJECT_SERVICE_URL": "http://people.example",
    }
    cluster.deploy(backlog_setup, environ)
    cluster.add("people", Team())
    seeded = await seed(cluster)
    assert (seeded.project_id, seeded.team) == ("GEM-007", "project-service")


async def test_the_log_tells_the_seeds_story(
    cluster: Cluster, team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="functions.backlog_setup.main"):
        await seed(cluster)
    assert [record.getMessage() for record in caplog.records if "backlog_setup" in record.name] == [
        "Starting backlog setup job...",
        "Backlog database connection successful.",
        "Retrieved team members for project",
        "Created 8 tasks, 4 stories, and 8 story-task mappings",
        "Backlog setup completed successfully. Created 8 backlog items for project TEST-001",
    ]
