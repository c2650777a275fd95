"""job-launcher makes exactly one Job of a request and follows it to its end."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from functions.events.webhook import JobCancelRequested
from functions.job_launcher import listing
from tests.support import eventually
from tests.support.cluster import Cluster, message_of
from tests.support.job_world import PYTHON_ROUTES, World, asked, job_world, run_python

JOBS = "/apis/batch/v1/namespaces/agents/jobs"
FOREVER = "import time; print('at work', flush=True); time.sleep(600)"


@pytest.fixture
async def world(cluster: Cluster, functions_database: str, tmp_path: Path) -> AsyncIterator[World]:
    async with job_world(cluster, functions_database, tmp_path) as world:
        yield world


async def kube_jobs(world: World) -> list[dict[str, Any]]:
    return list((await world.api.get(JOBS)).json()["items"])


async def test_a_request_becomes_a_job_that_is_followed_to_its_end(world: World) -> None:
    assert (await world.tell(asked("e1"))).status_code == 202

    await world.until("queued", "started", "succeeded")
    (job,) = await world.jobs()
    assert (job["state"], job["last_lines"]) == ("succeeded", ["done"])
    assert job["cause"] == {"id": "e1", "source": "/tests", "type": "test.run"}


async def test_every_fact_of_a_job_is_in_the_chain_and_the_trace_of_who_asked(
    world: World,
) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    asking = dataclasses.replace(
        asked("e1"), extensions={"correlationid": "an-issue", "traceparent": trace}
    )
    await world.tell(asking)
    await world.until("queued", "started", "succeeded")

    await world.tell(run_python("raise SystemExit(7)", "e2"))
    await world.until("queued", "started", "succeeded", "queued", "started", "failed")
    emitted = {fact.id: fact.extensions for fact in world.facts}.values()
    assert [s["correlationid"] for s in emitted] == ["an-issue"] * 3 + ["e2"] * 3
    assert [s.get("traceparent") for s in emitted] == [trace] * 3 + [None] * 3


async def test_an_event_that_comes_ten_times_makes_one_job(world: World) -> None:
    await asyncio.gather(*(world.tell(asked("e1")) for _ in range(10)))

    await world.until("queued", "started", "succeeded")
    assert len(await kube_jobs(world)) == 1


async def test_a_job_that_its_time_to_live_removed_is_never_made_again(world: World) -> None:
    await world.tell(asked("e1", ttl="0"))
    await world.until("queued", "started", "succeeded")

    async def is_gone() -> bool:
        return await kube_jobs(world) == []

    await eventually(is_gone)
    await world.tell(asked("e1", ttl="0"))
    await world.sweep()
    assert await kube_jobs(world) == []
    assert world.types() == ["queued", "started", "succeeded"]


async def test_what_no_route_names_is_ignored(world: World) -> None:
    message = asked("e1")
    other = message.__class__("e2", "/tests", "test.ignored", b"{}")

    assert (await world.tell(other)).status_code == 202
    assert await world.jobs() == []
    async with world.cluster.client("job-launcher") as client:
        assert (await client.get("/runs")).json()["runs"] == []


async def test_an_event_without_what_its_route_needs_is_refused_by_name(world: World) -> None:
    bare = asked("e1")
    answer = await world.tell(bare.__class__("e1", "/tests", "test.run", b"{}"))

    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("route run: task_id: the event has no data.task")


async def test_a_failure_tells_reason_exit_code_and_last_lines(world: World) -> None:
    await world.tell(run_python("print('so far'); raise SystemExit(7)"))

    await world.until("queued", "started", "failed")
    (fact,) = world.emitted("failed")
    assert (fact["reason"], fact["pod_reason"], fact["exit_code"], fact["log"]) == (
        "BackoffLimitExceeded",
        "Error",
        7,
        ["so far"],
    )


async def test_a_job_is_not_failed_while_retries_remain(world: World, tmp_path: Path) -> None:
    marker = tmp_path / "tried"
    code = f"import pathlib; p = pathlib.Path('{marker}'); n = p.exists(); p.touch(); exit(not n)"
    await world.tell(run_python(code, retries="1"))

    await world.until("queued", "started", "succeeded")
    assert world.emitted("failed") == []


async def test_a_job_beyond_its_deadline_fails_for_that(world: World) -> None:
    await world.tell(run_python(FOREVER, deadline="10"))

    await world.until("queued", "started", "failed")
    assert world.emitted("failed")[0]["reason"] == "DeadlineExceeded"


async def test_jobs_of_a_full_group_wait_in_order_and_say_why(world: World) -> None:
    await world.tell(run_python(FOREVER, "e1", group="repo", task="1"))
    await world.tell(asked("e2", group="repo", task="2"))
    await world.tell(asked("e3", group="other", task="3"))

    third, second, first = await world.jobs()
    assert first["state"] in ("starting", "running")
    assert second["state"] == "queued"
    assert second["reason"] == "1 of 1 jobs of group repo are active"
    assert third["state"] != "queued"

    await world.tell(message_of(JobCancelRequested(job=first["job_id"])))

    async def second_ran() -> bool:
        (job,) = await world.jobs(task="2")
        return bool(job["state"] == "succeeded")

    await eventually(second_ran)


async def test_a_newer_request_supersedes_the_running_and_the_queued(world: World) -> None:
    for number in (1, 2, 3):
        code = FOREVER if number < 3 else "print('newest')"
        await world.tell(run_python(code, f"e{number}", group="repo", supersede="pr 1"))

    async def newest_ran() -> bool:
        return [job["state"] for job in await world.jobs()] == [
            "succeeded",
            "cancelled",
            "cancelled",
        ]

    await eventually(newest_ran)
    newest = (await world.jobs())[0]["job_id"]
    superseded = [fact["superseded_by"] for fact in world.emitted("cancelled")]
    assert superseded[-1] == newest
    assert len(await kube_jobs(world)) == 1


async def test_a_cancelled_job_is_stopped_and_deleted(world: World) -> None:
    await world.tell(run_python(FOREVER, task="t9"))
    await world.until("queued", "started")
    await world.tell(JobCancelRequested(task_id="t9", reason="not wanted"))

    await world.until("queued", "started", "cancelled")
    assert world.emitted("cancelled")[0]["reason"] == "not wanted"

    async def is_gone() -> bool:
        return await kube_jobs(world) == []

    await eventually(is_gone)


async def test_a_job_deleted_by_hand_is_cancelled(world: World) -> None:
    await world.tell(run_python(FOREVER))
    await world.until("queued", "started")
    (job,) = await world.jobs()
    await world.api.delete(f"{JOBS}/{job['job_id']}?propagationPolicy=Background")

    await world.until("queued", "started", "cancelled")
    assert "deleted" in world.emitted("cancelled")[0]["reason"]


async def test_what_an_event_says_reaches_the_agent_as_it_came(world: World) -> None:
    title = "costs $5, $(HOME) and $$(HOME)"
    await world.tell(run_python("import os; print(os.environ['TASK_ID'])", task=title))

    await world.until("queued", "started", "succeeded")
    assert (await world.jobs())[0]["last_lines"] == [title]


@pytest.fixture
async def unwatched(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> AsyncIterator[World]:
    async with job_world(cluster, functions_database, tmp_path, may_watch=False) as world:
        yield world


async def test_the_sweep_sees_what_no_watch_saw(unwatched: World) -> None:
    await unwatched.tell(asked("e1"))

    await unwatched.until("queued", "started", "succeeded", sweeping=True)


async def test_a_job_that_went_unseen_is_reported_as_gone(unwatched: World) -> None:
    await unwatched.tell(run_python(FOREVER))
    (job,) = await unwatched.jobs()
    await unwatched.api.delete(f"{JOBS}/{job['job_id']}?propagationPolicy=Background")

    async def is_gone() -> bool:
        return await kube_jobs(unwatched) == []

    await eventually(is_gone)
    for _ in range(2):
        await unwatched.sweep()
    assert unwatched.emitted("failed")[0]["reason"] == "Gone"
    assert unwatched.emitted("failed")[0]["exit_code"] is None


async def test_a_job_that_was_only_recorded_is_no_success(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    routes = PYTHON_ROUTES.replace("[python, -c,", "[no-such-agent, -c,")
    async with job_world(cluster, functions_database, tmp_path, routes=routes) as world:
        await world.tell(asked("e1"))
        await world.until("queued", "recorded")

        (job,) = await world.jobs()
        assert (job["state"], job["outcome"]) == ("recorded", "recorded")
        assert await world.jobs(state="succeeded") == []
        assert await world.jobs(state="recorded") == [job]
        assert "recorded only, not run" in job["reason"]
        assert world.emitted("recorded")[0]["reason"] == job["reason"]
        async with cluster.client("job-launcher") as client:
            assert (await client.get("/tasks/t")).json()["status"] == "recorded"
        pool = asyncpg.create_pool(functions_database, min_size=1)
        async with pool, pool.acquire() as connection:
            count, _ = await listing.count_by_state(connection)
        assert (count["recorded"], count["succeeded"]) == (1, 0), "as the gauge has them"


async def test_a_job_that_ran_is_completed(world: World) -> None:
    await world.tell(asked("e1"))
    await world.until("queued", "started", "succeeded")

    (job,) = await world.jobs()
    assert (job["outcome"], job["reason"]) == ("completed", "")
