"""A Job that lacks what it needs says so at once, starts when it is there, and fails in the end."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.job_grant import InvalidGrant, verified
from functions.job_launcher.main import job_launcher
from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.job_world import Late, World, asked, job_world

JOBS = "/apis/batch/v1/namespaces/agents/jobs"
KEY = "k" * 40
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


def environ_of(database: str, folder: Path) -> dict[str, str]:
    """That of a launcher whose process begins anew."""
    return {
        "DATABASE_URL": database,
        "ROUTES_FILE": str(folder / "routes.yaml"),
        "KUBECONFIG": str(folder / "kubeconfig"),
        "KUBERNETES_NAMESPACE": "agents",
        "JOB_IMAGE": "anthropic/claude-code",
    }


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
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    late = Late("POST", b"CreateContainerConfigError")
    async with job_world(cluster, functions_database, tmp_path, routes=ROUTES, late=late) as world:
        await world.tell(asked("e1"))
        assert "agent-credentials" in (await waiting(world))["reason"]


async def test_a_job_that_a_queue_holds_back_waits_for_longer(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    """Kueue suspends what it evicts, and what it has no room for."""
    routes = ROUTES + "      pod: {queue: agents}\n"
    async with job_world(cluster, functions_database, tmp_path, routes=routes) as world:
        await world.tell(asked("e1"))
        await waiting(world)
        [job] = (await world.api.get(JOBS)).json()["items"]
        assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "agents"
        await world.api.patch(
            f"{JOBS}/{job['metadata']['name']}",
            json={"spec": {"suspend": True}},
            headers={"content-type": "application/merge-patch+json"},
        )

        async def is_held() -> bool:
            [shown] = await world.jobs()
            return bool(shown["reason"] == "waits in the queue agents")

        await eventually(is_held)
        later = datetime.now(UTC) + timedelta(minutes=11)
        world.cluster.deploy(
            job_launcher, environ_of(functions_database, tmp_path), now=lambda: later
        )
        await world.sweep()
        assert world.types() == ["queued"]


@pytest.mark.parametrize(("queue_of_it", "days"), [("", 0), ("      pod: {queue: agents}\n", 30)])
async def test_what_a_job_may_ask_for_does_not_expire_in_a_queue(
    cluster: Cluster, functions_database: str, tmp_path: Path, queue_of_it: str, days: int
) -> None:
    routes = ROUTES + "      outputs: {}\n" + queue_of_it
    environ = {"WORKSPACE_IMAGE": "anthropic/claude-code", "GRANT_KEY": KEY}
    job = job_world(cluster, functions_database, tmp_path, routes=routes, environ=environ)
    async with job as world:
        await world.tell(asked("e1"))
        await waiting(world)
        [job_id] = [one["job_id"] for one in await world.jobs()]
        secret = (await world.api.get(f"{SECRETS}/{job_id}")).json()
        token = b64decode(secret["data"]["grant"]).decode()
        now = datetime.now(UTC)
        assert verified(token, KEY, now + timedelta(days=days)).job_id == job_id
        with pytest.raises(InvalidGrant, match="it is over"):
            verified(token, KEY, now + timedelta(days=days + 1))


@pytest.mark.parametrize(("minutes", "facts"), [(9, ["queued"]), (11, ["queued", "failed"])])
async def test_it_fails_after_a_while_and_makes_room(
    cluster: Cluster, functions_database: str, tmp_path: Path, minutes: int, facts: list[str]
) -> None:
    late = Late("DELETE", b"DELETED")  # the watch sees the deletion first
    async with job_world(cluster, functions_database, tmp_path, routes=ROUTES, late=late) as world:
        await world.tell(asked("e1"))
        await _fails_after_a_while(world, functions_database, tmp_path, minutes, facts)


async def _fails_after_a_while(
    world: World, functions_database: str, tmp_path: Path, minutes: int, facts: list[str]
) -> None:
    await waiting(world)
    later = datetime.now(UTC) + timedelta(minutes=minutes)
    world.cluster.deploy(job_launcher, environ_of(functions_database, tmp_path), now=lambda: later)
    await world.sweep()

    assert world.types() == facts
    left = (await world.api.get(JOBS)).json()["items"]
    assert bool(left) is (facts == ["queued"])
    for fact in world.emitted("failed"):
        assert fact["reason"] == "NotStarted"
        assert fact["message"].startswith("not within 600 s: CreateContainerConfigError: ")
        assert "agent-credentials" in fact["message"]
