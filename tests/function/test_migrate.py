"""Migrations: forward on a schema that is behind, and nothing at all on one that is ahead."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import asyncpg
import pytest

from functions.kit import migrate
from tests.conftest import MakeDatabase, MakeMigrated

ORCHESTRATOR = migrate.owners()["orchestrator"]


def run(url: str, *owners: str) -> subprocess.CompletedProcess[str]:
    """What the Job of an image does."""
    command = [sys.executable, "-m", "functions.kit.migrate", *owners]
    env = {**os.environ, "DATABASE_URL": url}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


async def at(url: str, table: str) -> str | None:
    connection = await asyncpg.connect(url)
    try:
        version: str | None = await connection.fetchval(f"SELECT max(version_num) FROM {table}")
        return version
    finally:
        await connection.close()


async def later_images_schema(url: str, table: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(f"UPDATE {table} SET version_num = '9999'")
    await connection.close()


@pytest.mark.parametrize("newer", ["kit_version", "orchestrator_version"])
async def test_a_rolled_back_image_leaves_the_newer_schema_and_says_so_once(
    make_migrated: MakeMigrated, newer: str
) -> None:
    url = await make_migrated("orchestrator")
    await later_images_schema(url, newer)
    done = await asyncio.to_thread(run, url, "orchestrator")
    assert done.returncode == 0, done.stderr
    (line,) = (done.stdout + done.stderr).splitlines()
    assert "is at 9999, newer than" in line
    assert await at(url, newer) == "9999"


async def test_what_is_behind_goes_forward_beside_what_is_ahead(
    make_migrated: MakeMigrated,
) -> None:
    url = await make_migrated()
    await later_images_schema(url, "kit_version")
    await migrate.upgrade(url, ORCHESTRATOR)
    assert await at(url, "kit_version") == "9999"
    assert await at(url, "orchestrator_version") == ORCHESTRATOR.head


async def test_many_may_migrate_at_once(make_database: MakeDatabase) -> None:
    url = await make_database()
    await asyncio.gather(*(migrate.upgrade(url, ORCHESTRATOR) for _ in range(4)))
    assert await at(url, "orchestrator_version") == ORCHESTRATOR.head
