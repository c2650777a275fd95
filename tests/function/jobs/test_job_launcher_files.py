"""A Job finds its task's files in one folder: ours, and keys of Secrets that were there before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from tests.support.cluster import Cluster
from tests.support.job_world import World, asked, job_world

ROUTES = """
routes:
  - name: run
    match: {type: test.run}
    job:
      kind: execute
      task_id: "{{ data.task }}"
      service: shop
      command: [python, -c]
      args:
        - |
          import os, pathlib
          for file in sorted(pathlib.Path(os.environ["TASK_DIR"]).iterdir()):
              print(file.name, file.read_text())
      files: {task.md: "do {{ data.task }}"}
      secret_files: {login: {secret: agent-login, key: json}}
"""


@pytest.fixture
async def world(cluster: Cluster, functions_database: str, tmp_path: Path) -> AsyncIterator[World]:
    async with job_world(cluster, functions_database, tmp_path, routes=ROUTES) as world:
        yield world


async def test_a_job_reads_its_files_of_both_kinds(world: World) -> None:
    secret = {"metadata": {"name": "agent-login"}, "stringData": {"json": "s3cret"}}
    made = await world.api.post("/api/v1/namespaces/agents/secrets", json=secret)
    assert made.status_code == 201

    await world.tell(asked(task="it"))

    await world.until("queued", "started", "succeeded")
    (job,) = await world.jobs()
    assert job["last_lines"] == ["login s3cret", "task.md do it"]


async def test_a_request_of_before_there_were_secret_files_is_still_read(
    world: World, functions_database: str
) -> None:
    await world.tell(asked(task="it"))
    connection = await asyncpg.connect(functions_database)
    await connection.execute("UPDATE job SET request = request - 'secret_files'")
    await connection.close()

    assert [job["task_id"] for job in await world.jobs()] == ["it"]
