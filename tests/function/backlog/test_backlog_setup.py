"""backlog-setup: the same rows however often and by how many it is asked."""

from __future__ import annotations

import asyncio
import logging

import asyncpg
import pytest

from functions.backlog_setup.decide import FALLBACK_TEAM, SAMPLE_STORIES, SAMPLE_TASKS
from functions.backlog_setup.main import backlog_setup
from functions.events.backlog import BacklogSeeded, BacklogSetupRequested
from tests.support.backlog_world import Team, backlog, seed, team, url
from tests.support.cluster import Cluster, message_of

__all__ = ["backlog", "team", "url"]  # fixtures

ALL_ROWS = """
    SELECT (SELECT json_agg(t ORDER BY task_id) FROM tasks t)::text || '|' ||
           (SELECT json_agg(s ORDER BY id) FROM stories s)::text || '|' ||
           (SELECT json_agg(l ORDER BY story_id, task_id) FROM story_tasks l)::text
"""


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
    assert (seeded.team_reason or "").startswith("project-service: connection refused")


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


async def test_a_users_edits_are_kept(
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


async def test_rows_answer_and_event_are_committed_together(
    url: str, backlog: asyncpg.Connection[asyncpg.Record]
) -> None:
    """A user's request is never repeated: its event leaves although the process has died."""
    cluster = Cluster()
    cluster.deploy(backlog_setup, {"DATABASE_URL": url})
    cluster.add("project-service", Team())
    cluster.down.add("broker-ingress")
    cluster.waits = False
    async with cluster.client("backlog-setup") as client:
        assert (await client.post("/", json={})).status_code == 200
    await cluster.crash("backlog-setup")
    assert await backlog.fetchval("SELECT count(*) FROM tasks") == 8
    await backlog.execute("UPDATE outbox_event SET leased_until = NULL")

    another = cluster.deploy(backlog_setup, {"DATABASE_URL": url})
    cluster.down.clear()
    await another.resources.durable.relay.sweep()
    await cluster.relayed()

    (seeded,) = cluster.sink.of(BacklogSeeded)
    assert (seeded.tasks_count, seeded.created) == (8, 8)
    await cluster.close()


async def test_a_repeat_of_the_broker_gets_the_recorded_answer(
    cluster: Cluster, team: Team, backlog: asyncpg.Connection[asyncpg.Record]
) -> None:
    asked = message_of(BacklogSetupRequested())
    for _ in range(2):
        assert (await cluster.tell("backlog-setup", asked)).status_code == 202
    assert len(cluster.sink.of(BacklogSeeded)) == 1
    assert await backlog.fetchval("SELECT count(*) FROM inbox") == 1
