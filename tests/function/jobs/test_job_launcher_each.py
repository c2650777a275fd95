"""One event with several things in it becomes a Job for each task, and for each only once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from functions.kit import cloudevents
from tests.function.jobs.test_job_launcher_answers import MADE, deploy
from tests.support.cluster import Cluster
from tests.support.job_world import World, job_world
from tests.support.kubernetes_peer import Say, kube_peer
from tests.unit.test_job_each import ROUTE

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


def notification(id: str, *tasks: str) -> cloudevents.Message:
    alerts = [{"status": "firing", "labels": {"task_id": task}} for task in tasks]
    data = {"status": "firing", "groupKey": "g", "alerts": alerts}
    return cloudevents.Message(
        id, "/grafana", "com.grafana.alert.firing", json.dumps(data).encode()
    )


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


async def test_an_event_of_which_no_job_can_be_made_is_on_record_as_failed(world: World) -> None:
    bare = notification("n-1", "a")
    data = json.loads(bare.data)
    del data["groupKey"]
    answer = await world.tell(
        cloudevents.Message(
            "n-1", "/grafana", "com.grafana.alert.firing", json.dumps(data).encode()
        )
    )

    assert answer.status_code == 202
    (job,) = await world.jobs()
    assert (job["task_id"], job["state"]) == ("a", "failed")
    assert "supersede: the event has no data.groupKey" in job["reason"]
    assert await kube_jobs(world) == []


async def test_a_bad_item_has_its_own_failed_row_and_event(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    items = [
        {"task": "one", "service": "s", "what": "w"},
        {"task": "bad", "service": "s"},
        {"task": "two", "service": "s", "what": "w"},
    ]
    async with kube_peer(tmp_path, Say(201, body=MADE)) as peer:
        world = deploy(cluster, functions_database, peer)
        (tmp_path / "routes.yaml").write_text(ROUTE)
        message = cloudevents.Message(
            "e1", "/tests", "test.run", json.dumps({"items": items}).encode()
        )
        for _ in range(2):
            assert (await world.tell(message)).status_code == 202

        assert {job["task_id"]: job["state"] for job in await world.jobs()} == {
            "one": "starting",
            "bad": "failed",
            "two": "starting",
        }
        assert sorted(world.types()) == ["failed", "queued", "queued"]
        (fact,) = world.emitted("failed")
        assert (fact["task_id"], fact["reason"]) == ("bad", "Refused")
        assert "the event has no item.what" in fact["message"]
        assert fact["message"] in (await world.jobs(task="bad"))[0]["reason"]
        await world.sweep()
        assert len([name for name in world.types() if name == "failed"]) == 1
