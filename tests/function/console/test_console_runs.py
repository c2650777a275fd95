"""What a run's page and the lists of runs say, with the real orchestrator and workers."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from functions.console.main import console
from functions.orchestrator.main import orchestrator
from tests.support.cluster import Cluster
from tests.support.console_browser import LOCAL, browser, press
from tests.support.saga_world import SagaWorld

AT = "/orchestrations/tenantCreation/runs"
COUNT = r'href="/orchestrations"[^>]*>Orchestrations\s*<[^>]*>\s*(\d+)'


@pytest.fixture
async def world(cluster: Cluster, functions_database: str) -> SagaWorld:
    world = SagaWorld(cluster, functions_database)
    cluster.deploy(console, LOCAL)
    await world.register("realm-service", "client-service")
    return world


@pytest.fixture
async def failed(world: SagaWorld) -> str:
    """A run whose first step its worker refused for good."""
    flow = await world.execute()
    await world.until(flow, "FAILED")
    return flow


async def part(client: httpx.AsyncClient, at: str) -> str:
    return (await client.get(at)).text


async def test_a_run_that_failed_counts_alike_in_today_the_list_and_the_navigation(
    world: SagaWorld, failed: str
) -> None:
    async with browser(world.cluster) as client:
        today = await part(client, "/panels/attention")
        listed = await part(client, "/orchestrations/panels/all_runs?stuck=true")
        navigation = await part(client, "/navigation?here=/orchestrations")
    assert f'href="{AT}/{failed}"' in today
    assert "step createRealm failed" in today
    assert f'id="run-{failed}"' in listed
    assert "1 run in all" in listed
    assert re.findall(COUNT, navigation) == ["1"]


async def test_a_run_that_failed_needs_attention_for_a_day(world: SagaWorld, failed: str) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1, minutes=1)
    world.cluster.deploy(orchestrator, {"DATABASE_URL": world.database}, now=lambda: tomorrow)
    async with browser(world.cluster) as client:
        assert "No run" in await part(client, "/orchestrations/panels/all_runs?stuck=true")
        assert f'id="run-{failed}"' in await part(client, "/orchestrations/panels/all_runs")


async def test_a_run_that_a_user_cancelled_needs_no_attention(world: SagaWorld) -> None:
    flow = await world.execute(tenantId="t", realmName="r")
    async with browser(world.cluster) as client:
        await press(client, f"{AT}/{flow}/cancel")
        await world.until(flow, "CANCELLED")
        assert "No run" in await part(client, "/orchestrations/panels/all_runs?stuck=true")


async def test_a_step_that_failed_took_no_longer_than_its_run(
    world: SagaWorld, failed: str
) -> None:
    found = await world.run(failed)
    first = found["steps"][0]
    assert found["startedAt"] <= first["completedAt"] <= found["completedAt"]
    later = datetime.now(UTC) + timedelta(hours=2)
    world.cluster.deploy(console, LOCAL, now=lambda: later)
    async with browser(world.cluster) as client:
        page = await part(client, f"{AT}/{failed}/panels/timeline")
    (took,) = re.findall(r'aria-label="createRealm: ([^"]+)"', page)
    assert " h" not in took


async def test_a_step_that_was_retried_has_not_ended(world: SagaWorld, failed: str) -> None:
    async with browser(world.cluster) as client:
        await press(client, f"{AT}/{failed}/retry")
    first = (await world.run(failed))["steps"][0]
    assert (first["status"], first["completedAt"]) == ("IN_PROGRESS", None)


async def test_a_step_that_was_not_reached_lacks_no_worker(world: SagaWorld, failed: str) -> None:
    async with browser(world.cluster) as client:
        page = await part(client, f"{AT}/{failed}/panels/run")
    assert "<title>createClient: not reached</title>" in page
    assert "no worker yet" not in page


async def test_undo_is_offered_only_where_it_would_undo_something(
    world: SagaWorld, failed: str
) -> None:
    flow = await world.execute(tenantId="t", realmName="r")
    await world.until(flow, "COMPLETED")
    async with browser(world.cluster) as client:
        assert f"{AT}/{failed}/undo" not in await part(client, f"{AT}/{failed}/panels/run")
        assert f"{AT}/{failed}/retry" in await part(client, f"{AT}/{failed}/panels/run")
        assert f"{AT}/{flow}/undo" in await part(client, f"{AT}/{flow}/panels/run")
        assert 'class="primary danger">Undo<' in await part(client, f"{AT}/{flow}/undo")
        for at in (f"{AT}/{failed}/undo", f"{AT}/{flow}/undo?to=createClient"):
            page = await part(client, at)
            assert "There is nothing to undo." in page
            assert ">Undo</button>" not in page


async def test_a_run_that_waits_says_what_to_do_and_what_each_action_does(
    cluster: Cluster, functions_database: str
) -> None:
    world = SagaWorld(cluster, functions_database)
    cluster.deploy(console, LOCAL)
    await world.register("realm-service")
    flow = await world.execute(tenantId="t", realmName="r")
    async with browser(cluster) as client:
        page = await part(client, f"{AT}/{flow}/panels/run")
        listed = await part(client, "/orchestrations/panels/all_runs")
        of_one = await part(client, "/orchestrations/tenantCreation/panels/runs")
        registered = await part(client, "/orchestrations/panels/orchestrations")
    assert "Start the service that is the worker of each step named above" in page
    assert "<b>Pause</b>: Nothing new is sent until it is resumed" in page
    assert "<b>Cancel</b>: It stops, and what was done is undone." in page
    for rows in (listed, of_one):
        assert "no service has registered as worker for step createClient" in rows
    assert "lacks workers" in registered


async def test_runs_are_known_apart_and_found_by_the_end_of_their_ids(world: SagaWorld) -> None:
    flows = [await world.execute(tenantId="t", realmName=f"r{number}") for number in range(2)]
    async with browser(world.cluster) as client:
        listed = await part(client, "/orchestrations/panels/all_runs")
        for flow in flows:
            assert f">{flow[-8:]}</code>" in listed
            found = await client.get("/search", params={"q": flow[-8:]})
            assert f'href="{AT}/{flow}"' in found.text
