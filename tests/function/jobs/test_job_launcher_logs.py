"""What a Job says: page by page, and whoever reads along holds nothing up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from functions.job_launcher import logs
from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.job_world import World, asked, job_world, run_python

QUIET = "import time; time.sleep(600)"


@pytest.fixture
async def world(cluster: Cluster, functions_database: str, tmp_path: Path) -> AsyncIterator[World]:
    async with job_world(cluster, functions_database, tmp_path) as world:
        yield world


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with world.cluster.client("job-launcher") as client:
        yield client


async def started(world: World, code: str, **data: str) -> str:
    """The path of the log of a Job that runs."""
    await world.tell(run_python(code, **data))
    await world.until("queued", "started")
    return f"/jobs/{(await world.jobs())[0]['job_id']}/logs"


async def read_on(client: httpx.AsyncClient, path: str) -> str:
    """All of a log, as a follower reads it."""
    emitted, place, over = "", "", False
    while not over:
        answer = await client.get(path, params={"follow": "true", "after": place})
        assert answer.status_code == 200, answer.text
        emitted, place = emitted + answer.text, answer.headers.get("x-log-next", "")
        state, more = answer.headers["x-job-state"], answer.headers["x-log-more"]
        over = state in ("succeeded", "failed", "cancelled") and more == "false"
    return emitted


async def test_a_dozen_readers_of_a_quiet_log_hold_no_launch_up(
    world: World, client: httpx.AsyncClient
) -> None:
    path = await started(world, QUIET)
    readers = [
        asyncio.create_task(client.get(path, params={"follow": "true"}, timeout=None))
        for _ in range(12)
    ]
    answered = readers[logs.MAX_FOLLOWERS :]
    await asyncio.wait(answered, timeout=60)

    async with asyncio.timeout(60):
        await world.tell(asked(task="another"))

    assert (await world.jobs(task="another"))[0]["state"] != "queued"
    # More than a few are answered at once: the Service's places are for events.
    assert [reader.done() for reader in answered] == [True] * len(answered)
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)


async def test_a_reader_gets_what_comes_after_its_place_until_the_job_has_ended(
    world: World, client: httpx.AsyncClient
) -> None:
    slow = "import time\nfor n in range(5): print(n, flush=True); time.sleep(0.3)"
    path = await started(world, slow)

    assert (await read_on(client, path)).split() == ["0", "1", "2", "3", "4"]


async def test_a_long_log_comes_in_pages(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "PAGE_BYTES", 1000)
    await world.tell(run_python("for n in range(500): print(n)"))
    await world.until("queued", "started", "succeeded")
    path = f"/jobs/{(await world.jobs())[0]['job_id']}/logs"

    first = await client.get(path)

    assert (len(first.content), first.headers["x-log-more"]) == (1000, "true")
    assert (await read_on(client, path)).split() == [str(n) for n in range(500)]


async def test_a_reader_of_a_queued_job_waits_for_it(
    world: World, client: httpx.AsyncClient
) -> None:
    await world.tell(run_python("import time; time.sleep(1)", group="g", task="1"))
    await world.tell(run_python("print('mine')", group="g", task="2"))
    (job,) = await world.jobs(task="2")
    path = f"/jobs/{job['job_id']}/logs"

    at_once = await client.get(path)

    assert at_once.status_code == 409
    assert await read_on(client, path) == "mine\n"


async def test_a_retry_is_read_after_the_try_before_it(
    world: World, client: httpx.AsyncClient
) -> None:
    code = "import time; print('tried', flush=True); time.sleep(1); raise SystemExit(1)"
    path = await started(world, code, retries="1")

    async def both_are_over() -> bool:
        return "failed" in world.types()

    reading = asyncio.create_task(read_on(client, path))
    await eventually(both_are_over)
    assert (await reading).split() == ["tried", "tried"]
