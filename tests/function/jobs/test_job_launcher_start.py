"""A Job that lacks what it needs says so at once, starts when it is there, and fails in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.job_launcher import kubernetes_jobs, queue
from functions.job_launcher.main import job_launcher
from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.job_world import World, asked, job_world

SECRETS = "/api/v1/namespaces/agents/secrets"
ROUTES = """
routes:
  - name: run
    match: {type: test.run}
    job:
      kind: execute
      task_id: t
      service: shop
      command: [python, -c, "print('at work')"]
      secrets:
        ANTHROPIC_API_KEY: {secret: agent-credentials, key: anthropic-api-key}
"""


@pytest.fixture
async def world(cluster: Cluster, functions_database: str, tmp_path: Path) -> AsyncIterator[World]:
    async with job_world(cluster, functions_database, tmp_path, routes=ROUTES) as world:
        await world.tell(asked("e1"))
        yield world


async def waiting(world: World) -> dict[str, Any]:
    """The Job, once it says why it does not start."""

    async def says_why() -> dict[str, Any] | None:
        (job,) = await world.jobs()
        return job if job["reason"] else None

    return await eventually(says_why) or {}


async def test_a_job_without_its_credentials_says_which_secret_is_missing(world: World) -> None:
    job = await waiting(world)

    assert job["state"] == "starting"
    assert "agent-credentials" in job["reason"]
    assert job["reason"].startswith("CreateContainerConfigError: ")


async def test_it_starts_as_soon_as_they_are_there(world: World) -> None:
    await waiting(world)
    secret = {"metadata": {"name": "agent-credentials"}, "stringData": {"anthropic-api-key": "k"}}
    assert (await world.api.post(SECRETS, json=secret)).status_code == 201

    await world.until("queued", "started", "succeeded")


async def test_what_a_pod_says_before_its_launch_is_on_record_is_not_lost(
    cluster: Cluster, functions_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched = queue.mark_launched

    async def late(*args: Any) -> bool:
        await asyncio.sleep(0.5)
        return await launched(*args)

    monkeypatch.setattr(queue, "mark_launched", late)
    async with job_world(cluster, functions_database, tmp_path, routes=ROUTES) as world:
        await world.tell(asked("e1"))
        assert "agent-credentials" in (await waiting(world))["reason"]


@pytest.mark.parametrize(("minutes", "facts"), [(9, ["queued"]), (11, ["queued", "failed"])])
async def test_it_fails_after_a_while_and_makes_room(
    world: World,
    functions_database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    minutes: int,
    facts: list[str],
) -> None:
    await waiting(world)
    stop = kubernetes_jobs.stop

    async def stop_slowly(*args: Any) -> None:
        await stop(*args)
        await asyncio.sleep(0.5)  # the watch sees the deletion first

    monkeypatch.setattr(kubernetes_jobs, "stop", stop_slowly)
    later = datetime.now(UTC) + timedelta(minutes=minutes)
    environ = {
        "DATABASE_URL": functions_database,
        "ROUTES_FILE": str(tmp_path / "routes.yaml"),
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
        "KUBERNETES_NAMESPACE": "agents",
        "JOB_IMAGE": "anthropic/claude-code",
    }
    world.cluster.deploy(job_launcher, environ, now=lambda: later)
    await world.sweep()

    assert world.types() == facts
    left = (await world.api.get("/apis/batch/v1/namespaces/agents/jobs")).json()["items"]
    assert bool(left) is (facts == ["queued"])
    for fact in world.emitted("failed"):
        assert fact["reason"] == "NotStarted"
        assert fact["message"].startswith("not within 600 s: CreateContainerConfigError: ")
        assert "agent-credentials" in fact["message"]
