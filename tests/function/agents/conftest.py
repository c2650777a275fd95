"""agent-outputs with an empty table, and GitHub."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from tests.conftest import MakeMigrated
from tests.support.agent_world import AgentWorld, agent_world
from tests.support.cluster import Cluster


@pytest.fixture(scope="module")
async def outputs_database(make_migrated: MakeMigrated) -> str:
    """A database for a whole module."""
    return await make_migrated("agent_outputs")


@pytest.fixture
async def agents(
    cluster: Cluster, outputs_database: str, tmp_path: Path
) -> AsyncIterator[AgentWorld]:
    connection = await asyncpg.connect(outputs_database)
    await connection.execute(
        """TRUNCATE agent_output, agent_checkpoint, agent_artifact, agent_usage,
           outbox_event, inbox, run"""
    )
    await connection.close()
    async with agent_world(cluster, outputs_database, tmp_path) as world:
        yield world
