"""After dead letters were sent again, the page follows what comes of each."""

from __future__ import annotations

import base64
import html
import re
from dataclasses import replace

import asyncpg
import httpx
import pytest

from functions.console.main import console
from functions.cycle_trigger.main import cycle_trigger
from functions.dead_letter.main import dead_letter
from functions.event_recorder.main import event_recorder
from functions.events.cycle import CycleRequested
from functions.kit import cloudevents
from tests.support.cluster import Cluster, message_of
from tests.support.console_browser import LOCAL, browser, press
from tests.support.dsm_services import World

AWAY = base64.b64encode(b'{"detail": "project-orchestrator is away"}').decode()
FAILED = {
    "knativeerrordest": "http://cycle-trigger.dsm.svc.cluster.local/",
    "knativeerrorcode": "503",
    "knativeerrordata": AWAY,
}
RECORDED = {"EVENTS_URL": "http://event-recorder.dsm.svc.cluster.local/events/search"}


@pytest.fixture
async def given_up(cluster: Cluster, world: World, functions_database: str) -> Cluster:
    """Two cycles that could not be made as a service was away, recorded and dead-lettered."""
    world.sprint("ORI002", 1, 100)
    for target in (cycle_trigger, event_recorder, dead_letter):
        cluster.deploy(target, {"DATABASE_URL": functions_database})
    cluster.deploy(console, LOCAL | RECORDED)
    cluster.down.add("project-orchestrator")
    for number in (1, 2):
        asked = message_of(CycleRequested(project_id="ORI002"), id=f"c-{number}", source="/tests")
        assert (await cluster.tell("event-recorder", asked)).status_code == 202
        assert (await cluster.tell("cycle-trigger", asked)).status_code == 503
        lost = replace(asked, extensions={**asked.extensions, **FAILED})
        assert (await cluster.tell("dead-letter", lost)).status_code == 202
    cluster.down.clear()
    return cluster


def outcomes(page: str) -> dict[str, str]:
    rows = re.findall(r'id="sent-(\d+)".*?data-label="Outcome"><span class="[^"]+">([^<]+)<', page)
    return dict(rows)


async def now_shown(client: httpx.AsyncClient, page: str) -> str:
    """The panel as the open page asks for it anew."""
    [at] = re.findall(r'data-changed="([^"]+)"', page)
    headers = {"X-Panels": "redriven=before"}
    return (await client.get(html.unescape(at), headers=headers)).text


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ("/bulk/dead-letters?item=1&item=2&action=redrive", {"items": "1\n2"}),
        ("/dead-letters/redrive?state=open", {"state": "open"}),
    ],
)
async def test_each_that_was_sent_again_is_followed_to_its_end(
    given_up: Cluster, asked: str, fields: dict[str, str]
) -> None:
    async with browser(given_up) as client:
        answer = await press(client, asked, **fields)
        assert answer.status_code == 303, "a reload sends nothing again"
        done = (await client.get(answer.headers["location"])).text
        await given_up.relayed()
        sent = await now_shown(client, done)
        first, second = sorted(given_up.sink.messages, key=lambda message: message.id)
        given_up.down.add("project-orchestrator")
        assert (await given_up.tell("cycle-trigger", first)).status_code == 503
        tried = await now_shown(client, done)
        given_up.down.clear()
        assert (await given_up.tell("cycle-trigger", first)).status_code == 202
        back = {**second.extensions, **FAILED, "knativearrivaltime": "2026-03-02T15:00:00Z"}
        returned: cloudevents.Message = replace(second, extensions=back)
        assert (await given_up.tell("dead-letter", returned)).status_code == 202
        ended = await now_shown(client, done)
    assert "2 dead letters sent again." in done
    assert set(outcomes(done)) == {"1", "2"}
    assert outcomes(sent) == {"1": "sent", "2": "sent"}
    assert 'data-refresh="4"' in sent
    assert outcomes(tried) == {"1": "on its way", "2": "sent"}, "the broker tries it again"
    assert "an attempt failed: cycle-trigger" in tried
    assert "connection refused" in tried
    assert outcomes(ended) == {"1": "delivered", "2": "failed again"}
    assert "cycle-trigger was unavailable or busy: project-orchestrator is away" in ended
    assert 'href="/events/trace?correlation=c-1"' in ended
    assert "data-refresh" not in ended.split("panel-redriven", 1)[1].split(">", 1)[0]


async def test_what_is_no_dead_letter_is_named_beside_those_that_are(given_up: Cluster) -> None:
    async with browser(given_up) as client:
        page = (await client.get("/dead-letters/results?numbers=1,999,x")).text
    assert outcomes(page)["1"] == "open"
    assert "There is no dead letter x." in page
    assert "There is no dead letter 999." in page


async def test_what_was_not_sent_is_named_beside_what_was(given_up: Cluster) -> None:
    async with browser(given_up) as client:
        asked = "/bulk/dead-letters?item=1&item=2&action=redrive"
        await press(client, "/dead-letters/1/dismiss")
        answer = await press(client, asked, items="1\n2")
        page = html.unescape((await client.get(answer.headers["location"])).text)
    assert "1 dead letter sent again; 1 not sent again; 1: " in page
    assert "dead letter 1 is not open" in page
    assert outcomes(page) == {"1": "dismissed", "2": "on its way"}


async def test_what_is_long_gone_without_word_is_followed_no_more(
    given_up: Cluster, functions_database: str
) -> None:
    async with browser(given_up) as client:
        await press(client, "/dead-letters/1/redrive")
        await given_up.relayed()
        given_up.down.add("event-recorder")
        before = (await client.get("/dead-letters/results?numbers=1")).text
        connection = await asyncpg.connect(functions_database)
        await connection.execute("UPDATE redrive SET began_at = began_at - interval '1 hour'")
        await connection.close()
        after = (await client.get("/dead-letters/results?numbers=1")).text
    assert outcomes(before) == outcomes(after) == {"1": "sent"}
    assert 'data-part="redriven" data-refresh' in before
    assert 'data-part="redriven"' not in after
