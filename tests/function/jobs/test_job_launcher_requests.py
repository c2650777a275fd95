"""Requests, changes and cancellations arrive in any order; what counts is when they were sent."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.events.webhook import JobCancelRequested, TaskRequested, TaskUpdateRequested
from functions.kit import cloudevents
from tests.function.jobs.test_job_launcher_answers import MADE, deploy, serve
from tests.support import eventually
from tests.support.cluster import Cluster, message_of
from tests.support.job_world import World, asked, queue_locked
from tests.support.kubernetes_peer import KubePeer, Say, kube_peer

ROUTES = """
version: 1
routes:
  - name: task
    match: {type: io.dsm.task.requested.v1}
    job:
      kind: execute
      task_id: "{{ data.task_id }}"
      service: "{{ data.service }}"
      command: [agent]
      files: {task.md: "{{ data.title }}: {{ data.description | default(\\"\\") }}"}
  - name: run
    match: {type: test.run}
    job:
      kind: execute
      task_id: "{{ data.task }}"
      service: shop
      supersede: "{{ data.supersede | default(\\"\\") }}"
      command: [agent]
"""


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[KubePeer]:
    async with kube_peer(tmp_path, Say(201, body=MADE)) as peer:
        yield peer


@pytest.fixture
async def world(cluster: Cluster, functions_database: str, tmp_path: Path, peer: KubePeer) -> World:
    world = deploy(cluster, functions_database, peer)
    (tmp_path / "routes.yaml").write_text(ROUTES)
    return world


def emitted_at(id: str, time: str, **data: str) -> cloudevents.Message:
    return dataclasses.replace(asked(id, task=id, **data), time=time)


async def states(world: World) -> dict[str, str]:
    return {job["task_id"]: job["state"] for job in await world.jobs()}


async def test_an_older_request_that_comes_late_does_not_replace_the_newer(world: World) -> None:
    await world.tell(emitted_at("newer", "2026-01-01T10:00:00Z", supersede="pr 1"))
    await world.tell(emitted_at("older", "2026-01-01T09:00:00Z", supersede="pr 1"))

    assert await states(world) == {"newer": "starting", "older": "cancelled"}
    (older,) = await world.jobs(task="older")
    (newer,) = await world.jobs(task="newer")
    assert older["superseded_by"] == newer["job_id"]
    assert world.emitted("cancelled")[0]["reason"] == f"superseded by {newer['job_id']}"


async def test_a_time_that_is_still_to_come_is_now(world: World) -> None:
    await world.tell(emitted_at("wrong clock", "2999-01-01T10:00:00Z", supersede="pr 1"))
    await world.tell(asked("next", task="next", supersede="pr 1"))

    assert await states(world) == {"wrong clock": "cancelled", "next": "starting"}


async def test_of_two_that_come_together_one_stays(world: World, functions_database: str) -> None:
    async with queue_locked(functions_database) as waiting:
        both = [asyncio.create_task(world.tell(asked(id, task=id, supersede="pr"))) for id in "ab"]

        async def both_wait() -> bool:
            return await waiting() == 2

        await eventually(both_wait)
    for answer in await asyncio.gather(*both):
        assert answer.status_code == 202

    assert sorted((await states(world)).values()) == ["cancelled", "starting"]


def task(id: str, **more: Any) -> TaskRequested:
    return TaskRequested(task_id=id, service="shop", title="Fix it", **more)


def now_emitted(event: Any, time: str) -> cloudevents.Message:
    return dataclasses.replace(message_of(event), time=time)


async def test_a_cancellation_that_overtakes_its_task_stops_it(world: World) -> None:
    await world.tell(JobCancelRequested(task_id="t", reason="never mind"))
    await world.tell(now_emitted(task("t"), "2026-01-01T09:00:00Z"))

    assert await states(world) == {"t": "cancelled"}
    assert world.emitted("cancelled")[0]["reason"] == "never mind"


async def test_a_task_that_is_asked_for_again_after_its_cancellation_runs(world: World) -> None:
    await world.tell(JobCancelRequested(task_id="t"))
    await world.tell(task("t"))

    assert await states(world) == {"t": "starting"}


async def waiting(world: World, peer: KubePeer, id: str) -> None:
    """A task whose Job Kubernetes does not make yet."""
    peer.judge = lambda request, body: Say(403, "denied by admission")
    await world.tell(task(id, description="slowly"))
    assert await states(world) == {id: "queued"}
    peer.judge = lambda request, body: None


async def spec(world: World, id: str) -> dict[str, Any]:
    (job,) = await world.jobs(task=id)
    async with world.cluster.client("job-launcher") as client:
        return dict((await client.get(f"/jobs/{job['job_id']}")).json())


async def test_a_change_reaches_what_waits(
    world: World, peer: KubePeer, functions_database: str
) -> None:
    await waiting(world, peer, "t")
    (before,) = await world.jobs()

    await world.tell(TaskUpdateRequested(task_id="t", description="quickly", service="basket"))

    (after,) = await world.jobs()
    assert (after["job_id"], after["service"]) == (before["job_id"], "basket")
    later = datetime.now(UTC) + timedelta(minutes=2)
    serve(world.cluster, functions_database, peer, now=lambda: later)
    await world.sweep()
    made = [body for body in peer.bodies if body and body["kind"] == "ConfigMap"]
    assert made[0]["data"] == {"task.md": "Fix it: quickly"}


async def test_a_change_that_comes_too_late_is_seen_at_its_job(world: World) -> None:
    await world.tell(task("t"))
    await world.tell(TaskUpdateRequested(task_id="t", description="quickly"))

    (job,) = await world.jobs()
    assert job["state"] == "starting"
    assert "updated after the Job was created" in job["reason"]


async def test_a_status_of_cancelled_cancels(world: World) -> None:
    await world.tell(task("t"))
    await world.tell(TaskUpdateRequested(task_id="t", status="cancelled", origin="pm"))

    assert await states(world) == {"t": "cancelled"}
    assert json.loads(world.facts[-1].data)["reason"] == "cancelled by pm"
