"""The console says whether everything is here that GitHub's hooks made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from functions.console.main import console
from functions.event_recorder.main import event_recorder
from functions.events.agent import AgentRefused
from functions.webhook_receiver.gauges import gauges
from functions.webhook_receiver.github_actor import NO_CREDENTIALS
from tests.support.cluster import Cluster
from tests.support.console_browser import LOCAL
from tests.support.deliveries_world import HOOK, DeliveriesWorld, deliveries_world

PANEL, FUNCTIONS = "/functions/panels/deliveries", "/functions/panels/functions"
ATTENTION = "/panels/attention"
RECORDED = {"EVENTS_URL": "http://event-recorder.dsm.svc.cluster.local/events/search"}


@pytest.fixture
async def world(
    cluster: Cluster, webhook_database: str, tmp_path: Path
) -> AsyncIterator[DeliveriesWorld]:
    async with deliveries_world(cluster, webhook_database, tmp_path) as world:
        cluster.deploy(console, LOCAL, now=world.clock)
        yield world


async def page(world: DeliveriesWorld, at: str) -> str:
    async with world.cluster.client("console") as client:
        return (await client.get(at)).text


async def test_each_hook_is_shown_with_a_message(world: DeliveriesWorld) -> None:
    for fate in ("arrives", "lost"):
        number = await world.github.opened("o/r")
        await world.github.labelled("o/r", number, "agent", fate)
    await world.minute(61)

    shown = await page(world, PANEL)
    assert HOOK in shown
    assert "GitHub made 2 in the last day, 2 are here." in shown
    assert "labelled agent or agent:review has its request." in shown


async def test_what_is_missing_is_reported_with_its_time_and_needs_attention(
    world: DeliveriesWorld,
) -> None:
    sent = await world.github.labelled("o/r", await world.github.opened("o/r"), "agent", "lost")
    world.cluster.down.add("job-launcher")
    await world.minute()

    shown = await page(world, PANEL)
    assert "1 missing, which can be had until 2026-03-05T14:00:00Z" in shown
    assert sent.guid in shown
    assert "Deliveries that are not here" in await page(world, "/panels/attention")


async def test_what_is_missing_is_a_number_that_an_alert_reads(world: DeliveriesWorld) -> None:
    await world.github.labelled("o/r", await world.github.opened("o/r"), "agent", "lost")
    world.cluster.down.add("job-launcher")
    await world.minute()
    received = {
        (one.name, *one.labels.values()): one.value for one in await gauges(world.deploy({}))
    }

    assert received["deliveries_missing", HOOK] == 1
    assert received["deliveries_missing_oldest_seconds", HOOK] == 300
    assert received["deliveries_compared_age_seconds", HOOK] == 0, "it began just now"


async def test_a_source_that_is_not_configured_is_named_beside_its_function(
    world: DeliveriesWorld,
) -> None:
    assert "Not configured" not in await page(world, FUNCTIONS)
    world.deploy({"GRAFANA_WEBHOOK_SECRETS": "", "PM_WEBHOOK_SECRETS": "", "GITHUB_TOKEN": ""})
    [row] = [
        row for row in (await page(world, FUNCTIONS)).split("<tr>") if ">webhook-receiver<" in row
    ]
    assert "Not configured, so refused: grafana, pm" in row
    assert "on GitHub is refused: there are no credentials for GitHub." in row


async def test_an_agent_that_was_refused_without_credentials_needs_attention(
    world: DeliveriesWorld, functions_database: str
) -> None:
    world.cluster.deploy(event_recorder, {"DATABASE_URL": functions_database}, now=world.clock)
    world.cluster.deploy(console, LOCAL | RECORDED, now=world.clock)
    for issue, reason in ((7, f"GitHub could not be asked: {NO_CREDENTIALS}"), (8, "not a member")):
        refused = AgentRefused(
            correlation_id=f"c-{issue}",
            route="agent",
            repository="o/r",
            issue=issue,
            login="mona",
            asked="label agent",
            reason=reason,
            refused_at=world.clock(),
        )
        assert (await world.cluster.tell("event-recorder", refused)).status_code == 202
    assert "Agents refused" not in await page(world, ATTENTION)

    world.deploy({"GITHUB_TOKEN": ""})
    world.cluster.deploy(console, LOCAL | RECORDED, now=world.clock)
    shown = await page(world, ATTENTION)
    assert "Agents refused without GitHub&#39;s credentials" in shown
    assert f"{NO_CREDENTIALS}: set the Secret github, then ask again" in shown
    assert "/events/trace?correlation=c-7" in shown
    assert "c-8" not in shown


async def test_without_credentials_it_says_how_to_change_that(world: DeliveriesWorld) -> None:
    world.deploy({"GITHUB_TOKEN": ""})
    shown = await page(world, PANEL)
    assert "Deliveries that GitHub lost cannot be found" in shown
    assert "GITHUB_APP_ID" in shown
