"""backlog-setup with a backlog's database, and a project-service that has a team."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from starlette.responses import JSONResponse

from functions.backlog_setup.main import backlog_setup
from functions.events.backlog import BacklogSeeded, BacklogSetupRequested
from functions.kit.contract import envelope
from tests.conftest import MakeMigrated
from tests.support.cluster import Cluster, message_of

ORIGINAL_TABLES = """
    CREATE TABLE tasks (task_id varchar(255) PRIMARY KEY, project_id varchar(255) NOT NULL,
        title varchar(255) NOT NULL, description text, status varchar(50),
        assigned_to varchar(255), sprint_id varchar(255), progress_percentage int);
    CREATE TABLE stories (id varchar(255) PRIMARY KEY, description text NOT NULL);
    CREATE TABLE story_tasks (story_id varchar(255), task_id varchar(255),
        PRIMARY KEY (story_id, task_id));
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
async def url(make_migrated: MakeMigrated) -> str:
    url = await make_migrated()
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
    asked = message_of(BacklogSetupRequested(**fields))
    assert (await cluster.tell("backlog-setup", asked)).status_code == 202
    event = envelope.open_(await cluster.answer_to(asked), (BacklogSeeded,))
    assert isinstance(event, BacklogSeeded)
    return event
