"""What came of a Job is what agent-outputs reports, for whoever asks after its task."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.events.agent import AgentDelivered, AgentUndelivered, AgentUsage
from functions.events.webhook import JobCancelRequested, JobRetryRequested
from functions.job_launcher.controller.sweep import KILL_S
from functions.job_launcher.kubernetes.workspace import AGENT_GRACE_S, GRACE_S
from tests.support import eventually
from tests.support.cluster import Cluster, message_of
from tests.support.job_world import PYTHON_ROUTES, World, asked, job_world

AT = datetime(2026, 3, 2, 14, tzinfo=UTC)
URL = "https://github.com/acme/shop/pull/8"


@pytest.fixture
async def world(cluster: Cluster, functions_database: str, tmp_path: Path) -> AsyncIterator[World]:
    async with job_world(cluster, functions_database, tmp_path) as found:
        yield found


STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(600)
"""


async def test_an_agent_that_ignores_its_end_is_killed_after_its_own_grace(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    """The pod's grace, of hours, is meant for the sidecar."""
    routes = PYTHON_ROUTES.replace("      files:", "      outputs: {}\n      files:", 1)
    environ = {"WORKSPACE_IMAGE": "anthropic/claude-code", "GRANT_KEY": "k" * 40}
    late = timedelta()
    world_of = job_world(
        cluster,
        functions_database,
        tmp_path,
        routes=routes,
        environ=environ,
        now=lambda: datetime.now(UTC) + late,
    )
    async with world_of as world:
        await world.tell(asked("e1", code=STUBBORN))

        async def pods() -> list[dict[str, Any]]:
            return list((await world.api.get("/api/v1/namespaces/agents/pods")).json()["items"])

        async def is_deaf() -> bool:
            found = await pods()
            name = found[0]["metadata"]["name"] if found else "none"
            at = f"/api/v1/namespaces/agents/pods/{name}/log"
            return "deaf" in (await world.api.get(at, params={"container": "agent"})).text

        await eventually(is_deaf)
        await world.tell(JobCancelRequested(task_id="t"))
        await world.until("queued", "started", "cancelled")
        await world.sweep()
        [pod] = await pods()
        assert pod["metadata"]["deletionGracePeriodSeconds"] == GRACE_S

        late = timedelta(seconds=AGENT_GRACE_S + 5)
        await world.sweep()
        [pod] = await pods()
        assert pod["metadata"]["deletionGracePeriodSeconds"] == KILL_S


async def ended(world: World) -> dict[str, Any]:
    """The fields of a fact about a Job that has ended."""
    await world.tell(asked("e1"))
    await world.until("queued", "started", "succeeded")
    [job] = await world.jobs()
    return {"job_id": job["job_id"], "task_id": "t", "route": "run", "settled_at": AT}


async def task(world: World) -> dict[str, Any]:
    async with world.cluster.client("job-launcher") as client:
        found: dict[str, Any] = (await client.get("/tasks/t")).json()
        return found


async def test_a_task_shows_its_pull_request_and_its_report(world: World) -> None:
    fact = AgentDelivered(
        **await ended(world),
        pull_request=8,
        url=URL,
        commits=2,
        files=["a.py"],
        report="It was the cache.",
        usage=AgentUsage(turns=3, cost_usd=0.5),
    )
    for _ in range(2):
        assert (await world.tell(fact)).status_code == 202

    found = await task(world)
    assert (found["status"], found["outcome"]) == ("completed", "delivered")
    assert found["links"]["pull_request"] == URL
    assert found["result"]["report"] == "It was the cache."
    assert found["result"]["usage"]["cost_usd"] == 0.5
    [job] = await world.jobs()
    assert (job["outcome"], job["result"]["url"]) == ("delivered", URL)
    assert "report" not in job["result"], "a list is short"


async def test_what_was_refused_is_no_success_and_says_why(world: World) -> None:
    details = [".github/workflows/x.yml: agents may not change this path"]
    fields = await ended(world)
    await world.tell(AgentUndelivered(**fields, reason="refused", details=details, kept=True))

    found = await task(world)
    assert (found["status"], found["outcome"]) == ("undelivered", "undelivered")
    assert (found["result"]["reason"], found["result"]["details"]) == ("refused", details)
    assert found["result"]["kept"] is True


async def test_the_later_of_two_reports_counts_in_whatever_order_they_come(world: World) -> None:
    fields = await ended(world)
    late = {**fields, "settled_at": AT.replace(hour=15)}
    await world.tell(AgentDelivered(**late, report="Found."))
    await world.tell(AgentUndelivered(**fields, reason="not_applied"))

    assert (await task(world))["outcome"] == "delivered"


async def test_a_report_about_an_unknown_job_is_left_alone(world: World) -> None:
    fields = {"job_id": "of-another", "task_id": "t", "route": "run", "settled_at": AT}
    answer = await world.tell(AgentUndelivered(**fields, reason="no_outputs"))
    assert answer.status_code == 202
    assert await world.jobs() == []


async def test_a_retry_is_a_new_job_from_what_the_last_one_has_left(world: World) -> None:
    await ended(world)
    wanted = JobRetryRequested(task_id="t", reason="the model is back")
    message = message_of(wanted)
    for _ in range(2):
        assert (await world.tell(message)).status_code == 202

    async def both_ended() -> bool:
        jobs = await world.jobs()
        return [job["state"] for job in jobs] == ["succeeded", "succeeded"]

    assert await eventually(both_ended)
    newest, first = await world.jobs()
    assert newest["job_id"] != first["job_id"]
    assert newest["cause"]["type"] == "io.dsm.job.retry.requested.v1"


async def test_what_has_not_ended_is_not_retried(world: World) -> None:
    await world.tell(asked("e1", code="import time; time.sleep(600)"))
    [job] = await world.jobs()
    await world.tell(JobRetryRequested(job=job["job_id"]))
    assert len(await world.jobs()) == 1
    async with world.cluster.client("job-launcher") as client:
        answer = await client.post(f"/jobs/{job['job_id']}/retry")
    assert (answer.status_code, "has not ended" in answer.text) == (409, True)


async def test_a_retry_over_http_is_an_event_of_who_asked(world: World) -> None:
    fields = await ended(world)
    async with world.cluster.client("job-launcher") as client:
        at = f"/jobs/{fields['job_id']}/retry"
        answer = await client.post(at, params={"reason": "again"}, headers={"X-User": "ann"})
    assert answer.status_code == 202

    async def sent() -> list[JobRetryRequested]:
        return world.cluster.sink.of(JobRetryRequested)

    [event] = await eventually(sent)
    assert (event.job, event.reason) == (fields["job_id"], "retried by ann: again")
