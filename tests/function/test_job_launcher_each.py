"""One event with several things in it becomes a Job for each task, and for each only once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from functions.kit import wire
from tests.cluster import Cluster
from tests.function.job_world import World, job_world

ROUTES = """
routes:
  - name: alerts
    match: {type: com.grafana.alert.firing, action: firing, label: task_id}
    each: data.alerts
    job:
      kind: assist
      task_id: "{{ labels.task_id }}"
      service: shop
      supersede: "{{ data.groupKey }}"
      command: [python, -c, "import time; time.sleep(600)"]
"""


@pytest.fixture
async def world(cluster: Cluster, functions_database: str, tmp_path: Path) -> AsyncIterator[World]:
    async with job_world(cluster, functions_database, tmp_path, routes=ROUTES) as world:
        yield world


def notification(id: str, *tasks: str) -> wire.Message:
    alerts = [{"status": "firing", "labels": {"task_id": task}} for task in tasks]
    data = {"status": "firing", "groupKey": "g", "alerts": alerts}
    return wire.Message(id, "/grafana", "com.grafana.alert.firing", json.dumps(data).encode())


async def kube_jobs(world: World) -> list[str]:
    found = await world.api.get("/apis/batch/v1/namespaces/agents/jobs")
    tasks = [job["metadata"]["annotations"]["jobs.dsm.io/task-id"] for job in found.json()["items"]]
    return sorted(tasks)


async def test_a_notification_that_comes_ten_times_makes_one_job_of_each_task(world: World) -> None:
    again = [notification("n-1", *("ab" if n % 2 else "ba")) for n in range(10)]
    await asyncio.gather(*(world.tell(one) for one in again))

    assert await kube_jobs(world) == ["a", "b"]
    assert world.types().count("queued") == 2


async def test_jobs_of_one_event_do_not_supersede_one_another_and_a_newer_events_do(
    world: World,
) -> None:
    await world.tell(notification("n-1", "a", "b"))
    assert await kube_jobs(world) == ["a", "b"]

    await world.tell(notification("n-2", "c", "d"))

    states = {job["task_id"]: job["state"] for job in await world.jobs()}
    assert (states["a"], states["b"]) == ("cancelled", "cancelled")
    assert "cancelled" not in (states["c"], states["d"])


async def test_a_task_that_cannot_be_told_refuses_the_event_as_a_whole(world: World) -> None:
    bare = notification("n-1", "a")
    data = json.loads(bare.data)
    del data["groupKey"]
    answer = await world.tell(
        wire.Message("n-1", "/grafana", "com.grafana.alert.firing", json.dumps(data).encode())
    )

    assert answer.status_code == 422
    assert await world.jobs() == []
