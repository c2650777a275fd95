"""The console says whether everything is here that GitHub's hooks made."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from functions.console.main import console
from functions.event_recorder.main import event_recorder
from functions.events.agent import AgentRefused
from functions.webhook_receiver.gauges import gauges
from functions.webhook_receiver.github_actor import NO_ANSWER, NO_CREDENTIALS
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
    assert "It has no credentials for GitHub, so no user&#39;s role can be read" in row
    assert "Set GITHUB_TOKEN" in row


async def test_a_refused_request_needs_attention_where_its_senders_role_could_not_be_read(
    world: DeliveriesWorld, functions_database: str
) -> None:
    world.cluster.deploy(event_recorder, {"DATABASE_URL": functions_database}, now=world.clock)
    world.cluster.deploy(console, LOCAL | RECORDED, now=world.clock)
    unread = "GitHub could not be asked whether actor is triage or more"
    for issue, login, reason in (
        (7, "mallory", f"{unread}: {NO_CREDENTIALS}"),
        (8, "mona", f"{unread}: {NO_ANSWER}"),
        (9, "eve", "actor is read, not triage or more"),
    ):
        refused = AgentRefused(
            correlation_id=f"c-{issue}",
            route="agent",
            repository="o/r",
            issue=issue,
            login=login,
            asked="label agent",
            reason=reason,
            refused_at=world.clock(),
        )
        assert (await world.cluster.tell("event-recorder", refused)).status_code == 202

    shown = await page(world, ATTENTION)
    assert re.search(r'Refused requests</a> <span class="count">2<', shown)
    assert re.search(r"o/r#7, mallory</a>.*<p>webhook-receiver has no credentials", shown)
    assert re.search(r"o/r#8, mona</a>.*<p>GitHub did not answer</p>", shown)
    assert "o/r#9" not in shown, "a user who may not is refused rightly"
    menu = await page(world, "/navigation")
    assert re.search(r'Agents <span class="count">2<', menu)
    glance = await page(world, "/panels/glance")
    assert re.search(r'<dt>need attention</dt><dd><a [^>]+aria-label="2 need attention"', glance)

    listed = await page(world, "/agents/panels/refused")
    assert (
        'href="/functions#runs-webhook-receiver">webhook-receiver has no credentials for GitHub'
        "</a>, so mallory&#39;s role could not be read. Set GITHUB_TOKEN" in listed
    )
    assert "then set the label again." in listed
    assert "eve&#39;s role is read, not triage or more" in listed
    async with world.cluster.client("console") as client:
        found = await client.get("/search", params={"q": "mallory"})
    (anchor,) = re.findall(r'id="(refused-\d+)" href="/events/trace\?correlation=c-7"', listed)
    assert found.headers.get("location") == f"/agents#{anchor}" or f"/agents#{anchor}" in found.text

    async def jobs(request: Request) -> Response:
        is_mona = request.query_params["task"] == "o/r#8"
        queued_at = (world.clock() + timedelta(seconds=30)).isoformat()
        return JSONResponse({"jobs": [{"queued_at": queued_at}] if is_mona else []})

    world.cluster.add("job-launcher", Starlette(routes=[Route("/jobs", jobs)]))
    world.cluster.deploy(console, LOCAL | RECORDED, now=world.clock)
    shown = await page(world, ATTENTION)
    assert "o/r#7" in shown
    assert "o/r#8" not in shown, "it was asked again, and has its Job"

    world.clock.passes(days=1, minutes=1)
    world.cluster.deploy(console, LOCAL | RECORDED, now=world.clock)
    assert "Refused requests" not in await page(world, ATTENTION)


async def test_without_credentials_it_says_how_to_change_that(world: DeliveriesWorld) -> None:
    world.deploy({"GITHUB_TOKEN": ""})
    shown = await page(world, PANEL)
    assert "Deliveries that GitHub lost cannot be found" in shown
    assert "GITHUB_APP_ID" in shown
    world.deploy({"GITHUB_HOOKS": ""})
    shown = await page(world, PANEL)
    assert "no hook and no repository is named" in shown
    assert "no credentials" not in shown
