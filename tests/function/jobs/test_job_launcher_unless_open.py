"""A label that is set twice within a second starts one agent, however its events come."""

from __future__ import annotations

import asyncio
from pathlib import Path

from functions.kit import cloudevents
from tests.support.cluster import Cluster
from tests.support.job_world import PYTHON_ROUTES, job_world, run_python

ROUTES = PYTHON_ROUTES.replace("      retries:", "      unless_open: true\n      retries:", 1)
WAITS = "import time; time.sleep(60)"


async def test_two_requests_at_once_make_one_job(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    async with job_world(cluster, functions_database, tmp_path, routes=ROUTES) as world:
        twice = [run_python(WAITS, id) for id in ("e1", "e2") for _ in range(2)]
        await asyncio.gather(*map(world.tell, twice))
        await world.until("queued", "started")
        [job] = await world.jobs()
        assert job["cause"]["id"] in ("e1", "e2")


async def test_after_its_end_the_next_one_starts(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    async with job_world(cluster, functions_database, tmp_path, routes=ROUTES) as world:

        def asked(id: str) -> cloudevents.Message:
            return run_python("print('done')", id)

        await world.tell(asked("e1"))
        await world.until("queued", "started", "succeeded")
        await world.tell(asked("e2"))
        await world.until("queued", "started", "succeeded", "queued", "started", "succeeded")
        await world.tell(asked("e2"))
        assert len(await world.jobs()) == 2
