"""Users see the place of a request that waits, among those of its group."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from functions.job_launcher.controller.launching import MIN_REMAINING_S
from functions.job_launcher.controller.places import MAX_REPORTS
from functions.job_launcher.controller.places import report as places_report
from functions.kit import cloudevents
from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.job_world import PYTHON_ROUTES, World, asked, deploy, job_world

ISSUE = """      github: acme/shop
      issue: "{{ data.issue | default(\\"7\\") }}"
      files:"""
SLEEPS = "import time; time.sleep(600)"


@pytest.fixture
async def world(cluster: Cluster, functions_database: str, tmp_path: Path) -> AsyncIterator[World]:
    routes = PYTHON_ROUTES.replace("      files:", ISSUE)
    async with job_world(cluster, functions_database, tmp_path, routes=routes) as found:
        yield found


async def run(world: World, id: str, group: str = "shop") -> None:
    await world.tell(asked(id, task=id, group=group, code=SLEEPS))
    await world.cluster.relayed()


def places(world: World, name: str) -> list[tuple[str, int]]:
    """The places that were emitted, by task, each id once."""
    first = {one.id: json.loads(one.data) for one in world.facts if one.type.split(".")[3] == name}
    return [(data["task_id"], data["place"]) for data in first.values()]


async def test_a_place_is_known_at_once_and_reported_where_it_has_changed(world: World) -> None:
    for id in ("a", "b", "c"):
        await run(world, id)
    await run(world, "other", group="another")
    assert places(world, "queued") == [("a", 1), ("b", 1), ("c", 2), ("other", 1)]
    for _ in range(2):
        await world.sweep()
    assert places(world, "moved") == [], "none has moved"

    first = next(one for one in await world.jobs() if one["task_id"] == "a")
    body = json.dumps({"job": first["job_id"]}).encode()
    await world.tell(cloudevents.Message("s", "/tests", "io.dsm.job.cancel.requested.v1", body))

    async def has_moved() -> bool:
        await world.sweep()
        return bool(places(world, "moved"))

    await eventually(has_moved, every_s=0.05)
    for _ in range(2):
        await world.sweep()
    assert places(world, "moved") == [("c", 1)], "once"


async def cancel(world: World, task: str) -> None:
    body = json.dumps({"task_id": task}).encode()
    await world.tell(
        cloudevents.Message(f"cancel {task}", "/tests", "io.dsm.job.cancel.requested.v1", body)
    )


async def test_of_a_long_queue_each_place_is_reported_in_its_turn(world: World) -> None:
    """More than one sweep reports, and all of them move each minute."""
    waiting = [f"w{number}" for number in range(MAX_REPORTS + 12)]
    await run(world, "running")
    for id in waiting:
        await world.tell(asked(id, task=id, group="shop", code=SLEEPS))
    for minute in range(2):
        await cancel(world, waiting[minute])
        await world.sweep()
        moved = places(world, "moved")
        assert len(moved) == MAX_REPORTS * (minute + 1)
    assert set(waiting[2:]) <= {task for task, _ in moved}


async def test_places_are_reported_as_long_as_there_is_time(
    world: World, cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    for id in ("a", "b", "c"):
        await run(world, id)
    ctx = deploy(cluster, functions_database, tmp_path, str(world.api.base_url))
    await cancel(world, "b")
    await places_report(replace(ctx, until=time.monotonic() + MIN_REMAINING_S))
    assert places(world, "moved") == []
    await places_report(ctx)
    await cluster.relayed()
    assert places(world, "moved") == [("c", 1)]
