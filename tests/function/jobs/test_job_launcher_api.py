"""The launcher's HTTP API: Jobs page by page, logs as they come, tasks, cancelling."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from functions.events.webhook import JobCancelRequested
from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.job_world import World, asked, job_world, run_python

FOREVER = "import time; print('at work', flush=True); time.sleep(600)"


@pytest.fixture
async def world(cluster: Cluster, functions_database: str, tmp_path: Path) -> AsyncIterator[World]:
    async with job_world(cluster, functions_database, tmp_path) as world:
        yield world


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with world.cluster.client("job-launcher") as client:
        yield client


async def test_jobs_are_listed_newest_first_and_page_by_page(
    world: World, client: httpx.AsyncClient
) -> None:
    for number in range(5):
        await world.tell(asked(task=f"t{number}", group="g"))

    first = (await client.get("/jobs", params={"limit": 2})).json()
    second = (await client.get("/jobs", params={"limit": 2, "cursor": first["next"]})).json()
    last = (await client.get("/jobs", params={"limit": 2, "cursor": second["next"]})).json()

    tasks = [job["task_id"] for page in (first, second, last) for job in page["jobs"]]
    assert tasks == ["t4", "t3", "t2", "t1", "t0"]
    assert last["next"] is None


async def test_filters_select(world: World, client: httpx.AsyncClient) -> None:
    await world.tell(asked(task="a", service="x"))
    await world.tell(asked(task="b", service="y"))

    for query in ({"task": "a"}, {"service": "x"}):
        jobs = (await client.get("/jobs", params=query)).json()["jobs"]
        assert [job["task_id"] for job in jobs] == ["a"]
    refused = await client.get("/jobs", params={"stat": "x"})
    assert (refused.status_code, refused.json()["detail"]) == (422, "stat: no such filter")


async def test_one_job_shows_what_was_asked_for(world: World, client: httpx.AsyncClient) -> None:
    await world.tell(asked(task="a"))
    (job,) = await world.jobs()

    found = (await client.get(f"/jobs/{job['job_id']}")).json()

    assert found["spec"]["command"][0] == "python"
    assert found["spec"]["resources"]["limits"] == {
        "cpu": "2",
        "memory": "4Gi",
        "ephemeral-storage": "10Gi",
    }
    assert (await client.get("/jobs/nobody")).status_code == 404


async def test_a_log_is_read_whole_or_its_tail(world: World, client: httpx.AsyncClient) -> None:
    await world.tell(run_python("print('one'); print('two')"))
    await world.until("queued", "started", "succeeded")
    (job,) = await world.jobs()

    assert (await client.get(f"/jobs/{job['job_id']}/logs")).text == "one\ntwo\n"
    tail = await client.get(f"/jobs/{job['job_id']}/logs", params={"tail": "1"})
    assert tail.text == "two\n"


async def test_the_last_lines_outlive_the_job(world: World, client: httpx.AsyncClient) -> None:
    await world.tell(asked())
    await world.until("queued", "started", "succeeded")
    (job,) = await world.jobs()
    jobs = "/apis/batch/v1/namespaces/agents/jobs"
    await world.api.delete(f"{jobs}/{job['job_id']}?propagationPolicy=Background")

    async def job_is_gone() -> bool:
        return not (await world.api.get(jobs)).json()["items"]

    await eventually(job_is_gone)
    answer = await client.get(f"/jobs/{job['job_id']}/logs")
    assert (answer.text, answer.headers["x-log"]) == ("done\n", "last lines")


async def test_the_last_lines_outlive_a_job_that_was_cancelled(
    world: World, client: httpx.AsyncClient
) -> None:
    await world.tell(run_python("import time; print('begun', flush=True); time.sleep(900)"))
    await world.until("queued", "started")
    (job,) = await world.jobs()
    logs = f"/jobs/{job['job_id']}/logs"

    async def has_begun() -> bool:
        return "begun" in (await client.get(logs)).text

    await eventually(has_begun)
    await client.post(f"/jobs/{job['job_id']}/cancel")
    (message,) = [m for m in world.cluster.sink.messages if m.type == JobCancelRequested.type]
    await world.tell(message)
    await world.until("queued", "started", "cancelled")

    answer = await client.get(logs)

    assert (answer.text, answer.headers["x-log"]) == ("begun\n", "last lines")


async def test_a_queued_job_has_no_log_and_says_why(
    world: World, client: httpx.AsyncClient
) -> None:
    await world.tell(run_python(FOREVER, group="g", task="1"))
    await world.tell(asked(group="g", task="2"))
    (job,) = await world.jobs(task="2")

    answer = await client.get(f"/jobs/{job['job_id']}/logs")

    assert answer.status_code == 409
    assert answer.json()["detail"].endswith("1 of 1 jobs of group g are active")


async def test_a_task_has_the_status_of_its_newest_job(
    world: World, client: httpx.AsyncClient
) -> None:
    await world.tell(asked(task="acme/shop#7"))
    await world.until("queued", "started", "succeeded")

    found = (await client.get("/tasks/acme%2Fshop%237")).json()

    assert (found["status"], len(found["jobs"])) == ("ended", 1)
    assert (await client.get("/tasks/nobody")).status_code == 404


async def test_cancelling_over_http_is_an_event(world: World, client: httpx.AsyncClient) -> None:
    await world.tell(run_python(FOREVER))
    await world.until("queued", "started")
    (job,) = await world.jobs()

    answer = await client.post(f"/jobs/{job['job_id']}/cancel")

    assert answer.status_code == 202
    (message,) = [m for m in world.cluster.sink.messages if m.type == JobCancelRequested.type]
    await world.tell(message)
    assert "cancelled" in world.types()
    assert (await client.post(f"/jobs/{job['job_id']}/cancel")).status_code == 409


async def test_one_key_cancels_each_job_that_it_is_given_for_once(
    world: World, client: httpx.AsyncClient
) -> None:
    for name in ("a", "b"):
        await world.tell(run_python(FOREVER, name))
    jobs = [job["job_id"] for job in await world.jobs()]
    key = {"Idempotency-Key": "1"}

    for job in (*jobs, jobs[0]):
        answer = await client.post(f"/jobs/{job}/cancel", headers=key)
        assert answer.status_code == 202

    asked = [m for m in world.cluster.sink.messages if m.type == JobCancelRequested.type]
    first, second, again = asked
    assert first.id == again.id != second.id
    for message in asked:
        await world.tell(message)

    async def are_cancelled() -> bool:
        return [job["state"] for job in await world.jobs()] == ["cancelled"] * 2

    await eventually(are_cancelled)
